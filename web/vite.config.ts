import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin, type UserConfig } from "vite";

// Three builds of the same components: the lab page (default), and one file each for the notebook
// widget and for HTML files opened from disk. One file means one: styles and fonts are inside.
const bundle = new URL("../src/llm_workings/_bundle/", import.meta.url).pathname;

/** Moves the build's stylesheet into its script, where `hosts/embed.ts` expects it. */
function styleInScript(): Plugin {
  return {
    name: "style-in-script",
    enforce: "post",
    generateBundle(_, files) {
      let css = "";
      for (const [name, file] of Object.entries(files)) {
        if (file.type === "asset" && name.endsWith(".css")) {
          css += file.source;
          delete files[name];
        }
      }
      let placed = false;
      for (const file of Object.values(files)) {
        if (file.type !== "chunk") continue;
        file.code = file.code.replace(/(["'`])%STYLE%\1/, () => {
          placed = true;
          // The standalone script stands inside <script>: no "</" may survive in it.
          return JSON.stringify(css).replaceAll("</", "<\\/");
        });
      }
      if (!css || !placed) this.error("The stylesheet found no place in the script.");
    },
  };
}

/** KaTeX's stylesheet names twenty faces in three formats. Kept are those the algebra is set in, as WOFF2. */
function fewerFaces(): Plugin {
  const kept = /KaTeX_(Main-Regular|Main-Bold|Math-Italic|Size[1-4]-Regular)\.woff2/;
  return {
    name: "fewer-faces",
    enforce: "pre",
    transform(code, id) {
      if (!/katex[^/]*\.css$/.test(id)) return null;
      return code.replace(/@font-face\s*\{[^}]*\}/g, (face) => (kept.test(face) ? face.replace(/(src:[^,;}]*)[^;}]*/, "$1") : ""));
    },
  };
}

function oneFile(entry: string, file: string, format: "es" | "iife"): UserConfig {
  return {
    plugins: [svelte({ configFile: false }), fewerFaces(), styleInScript()],
    publicDir: false,
    build: {
      target: "es2022",
      outDir: bundle,
      emptyOutDir: false,
      cssCodeSplit: false,
      assetsInlineLimit: 1e7,
      lib: { entry, formats: [format], name: "llmWorkings", fileName: () => file },
    },
    define: { "process.env.NODE_ENV": '"production"' },
  };
}

export default defineConfig(({ mode }) => {
  if (mode === "widget") return oneFile("hosts/notebook.ts", "widget.js", "es");
  if (mode === "standalone") return oneFile("hosts/standalone.ts", "standalone.js", "iife");
  return {
    plugins: [svelte({ configFile: false }), fewerFaces()],
    root: "lab",
    publicDir: "public",
    resolve: mode === "test" ? { conditions: ["browser"] } : {},
    build: {
      target: "es2022",
      outDir: bundle + "lab",
      emptyOutDir: true,
      assetsInlineLimit: 0,
    },
    server: {
      // `npm run dev` beside a running lab: LAB=http://127.0.0.1:8765 npm run dev
      proxy: { "/api": { target: process.env.LAB ?? "http://127.0.0.1:8765", ws: true } },
    },
    test: { root: ".", environment: "happy-dom", include: ["tests/**/*.test.ts"] },
  };
});
