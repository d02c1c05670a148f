import "../parts/fonts.css";
import "../parts/theme.css";
import "../parts/view.css";
import "./lab.css";
import { mount } from "svelte";
import App from "./App.svelte";

mount(App, { target: document.getElementById("lab")! });
