// Written by `python -m llm_workings.views.typescript`. Do not edit.

/** An array of the wire: its numbers, row by row, and its shape. */
export interface NdArray<Data> {
  data: Data;
  shape: number[];
}

/** What a page says about a loaded model. */
export interface ModelCard {
  name: string;
  title: string;
  family: string;
  n_layers: number;
  n_heads: number;
  n_key_value_heads: number;
  d_model: number;
  d_head: number;
  n_ctx: number;
  vocab_size: number;
  parameters: number;
  causal: boolean;
  /** False for an encoder without a language-model head. */
  answers: boolean;
  /** What a masked position is written as, if the model has such. */
  mask_token: string | null;
  /** Where its weights came from, in words. */
  source: string;
}

/** One token, exactly. Bytes that are no whole character are written `\xNN` in `text`. */
export interface Token {
  id: number;
  text: string;
  special: boolean;
}

/** How much each head behaves like a known kind of head, on this text. All but entropy in 0..1. */
export interface HeadScores {
  /** `[layer, head]` float32. Mean weight on the token just before. */
  previous_token: NdArray<Float32Array>;
  /** `[layer, head]` float32. Mean weight on what followed earlier copies of the query's token. */
  induction: NdArray<Float32Array>;
  /** `[layer, head]` float32. Mean weight on earlier copies of the query's token. */
  duplicate_token: NdArray<Float32Array>;
  /** `[layer, head]` float32. Mean weight of the later tokens on the first one. */
  first_token: NdArray<Float32Array>;
  /** `[layer, head]` float32. Nats, mean over queries. */
  entropy: NdArray<Float32Array>;
}

/** On how many queries each score rests. A score that rests on none is 0 and says nothing: a text in which no token comes twice has no induction to score. */
export interface ScoreQueries {
  previous_token: number;
  induction: number;
  duplicate_token: number;
  first_token: number;
  entropy: number;
}

/** One attention head, by layer and index in it, both from 0. */
export interface HeadRef {
  layer: number;
  head: number;
}

/** One candidate for what stands at a position, as the model scores it. */
export interface Guess {
  token: Token;
  probability: number;
  logit: number;
  /** 0 is the best. */
  rank: number;
}

/** The atlas: every head's pattern in small, its scores, and the model's answer. */
export interface Attention {
  model: ModelCard;
  tokens: Token[];
  /** `[layer, head, row, column]` uint8. Row: query, column: key, at most 32 cells each way. A cell is the weight that a query of its row gives to all keys of its column together, on the mean; 255 is a weight of 1. */
  thumbnails: NdArray<Uint8Array>;
  tokens_per_cell: number;
  scores: HeadScores;
  score_queries: ScoreQueries;
  ablate: HeadRef[];
  ablation: "zero" | "mean";
  /** The position whose answer is shown: the last, or the first mask of a masked-language model. None if the model answers nothing, or the text has no mask to answer for. */
  answer_position: number | null;
  /** Best first, under the ablation if there is one; the unablated best is then among them. */
  answer: Guess[];
  /** The same tokens and the unablated best, best first; empty if nothing is ablated. */
  unablated: Guess[];
}

export interface AttentionRequest {
  /** The text the model reads. */
  prompt: string;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** The heads to switch off while the model reads the text. */
  ablate?: HeadRef[];
  /** What a switched-off head's output is replaced by: zero, or its own mean over the text. */
  ablation?: "zero" | "mean";
}

/** One head's pattern. */
export interface Head {
  model: ModelCard;
  tokens: Token[];
  layer: number;
  head: number;
  /** The key-value head it reads through; several heads may share one. */
  key_value_head: number;
  causal: boolean;
  /** `[entry]` float16. Row by row (query by query). Of a causal model it is the lower triangle only: query i has i + 1 entries, n(n + 1)/2 in all. Of a bidirectional model it has all n x n. */
  pattern: NdArray<Float32Array>;
}

export interface HeadRequest {
  /** The text the model reads. */
  prompt: string;
  /** A block of the model, from 0. */
  layer: number;
  /** A head of that layer, from 0. */
  head: number;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** The heads to switch off while the model reads the text. */
  ablate?: HeadRef[];
  /** What a switched-off head's output is replaced by: zero, or its own mean over the text. */
  ablation?: "zero" | "mean";
}

/** One query's row, exactly as computed. Keys that a causal query cannot see are left out. */
export interface HeadRow {
  layer: number;
  head: number;
  query: number;
  /** `[key]` float32. Raw: q . k / sqrt(d_head), before softmax. */
  scores: NdArray<Float32Array>;
  /** `[key]` float32. softmax(scores): sums to 1 to rounding. */
  pattern: NdArray<Float32Array>;
}

export interface HeadRowRequest {
  /** The text the model reads. */
  prompt: string;
  /** A block of the model, from 0. */
  layer: number;
  /** A head of that layer, from 0. */
  head: number;
  /** A token of the text, from 0. */
  query: number;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** The heads to switch off while the model reads the text. */
  ablate?: HeadRef[];
  /** What a switched-off head's output is replaced by: zero, or its own mean over the text. */
  ablation?: "zero" | "mean";
}

/** A text that is one segment said twice, perhaps after a begin token. A model that looks back pays for the first copy only (Elhage et al. 2021). */
export interface Copies {
  /** Tokens in the segment. */
  length: number;
  /** Nats a token, mean over the first copy; the text's very first token is not predicted. */
  first_loss: number;
  /** Nats a token, mean over the second copy. */
  second_loss: number;
}

/** A row a stop on the residual stream (first the embedding, last the model's own output), a column a position. */
export interface LogitLens {
  model: ModelCard;
  tokens: Token[];
  /** Site names, in order. */
  stops: string[];
  /** Each token named in `best`, once. */
  vocabulary: Token[];
  /** `[stop, position]` int32. The best guess, as an index into `vocabulary`. */
  best: NdArray<Int32Array>;
  /** `[stop, position]` float32. Of the best guess. */
  probability: NdArray<Float32Array>;
  /** `[stop, position]` float32. Of all guesses, in nats. */
  entropy: NdArray<Float32Array>;
  /** The token followed through the layers. */
  chosen: Token;
  /** `[stop, position]` float32. */
  chosen_probability: NdArray<Float32Array>;
  /** `[stop, position]` int32. 0 is the best: how many tokens have a higher logit. */
  chosen_rank: NdArray<Int32Array>;
  /** `[position]` int32. Id of the token that truly stands where the guess is for, -1 if unknown. A causal model guesses the next token; a masked-language model the token at the position itself (unknown at a mask). */
  following: NdArray<Int32Array>;
  /** `[stop, position]` float32. What that token costs: -log of its probability, in nats; NaN where it is unknown. The mean of the last row is the model's loss on this text. */
  loss: NdArray<Float32Array>;
  /** Where the text is one segment said twice, what each of the two costs. */
  copies: Copies | null;
  /** Largest |last row's logits - the model's own logits|: must be 0 to rounding. */
  final_error: number;
  /** At how many positions (the last ones) that was measured. */
  compared: number;
}

export interface LogitLensRequest {
  /** The text the model reads. */
  prompt: string;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** One token, its leading space included, whose probability and rank are followed through the layers. Left out, it is the model's own best answer. */
  chosen?: string | null;
}

/** What each view answers. */
export interface Answers {
  attention: Attention;
  head: Head;
  head_row: HeadRow;
  logit_lens: LogitLens;
}

/** What each view is asked. */
export interface Requests {
  attention: AttentionRequest;
  head: HeadRequest;
  head_row: HeadRowRequest;
  logit_lens: LogitLensRequest;
}

/** Every view: its title, the text beside its picture, and what a request leaves out. */
export const VIEWS = {
  "attention": {
    "title": "Attention heads",
    "about": "Who looks at whom. Each small square is one head's pattern on this text: row i, column j is the weight a[i, j] = softmax_j(q_i · k_j / √d_head) with which position i reads from position j. A row sums to 1. The heads can be sorted by how much they behave like known kinds: previous token, induction, duplicate token, first-token sink, and entropy in nats.\n\nAblating a head replaces its output z by zero, or by its own mean over the positions of this text, and runs the model again: the answer then shows what this head did for it here.\n\nWhat this cannot tell you: a weight says where a head reads, not what it reads, nor whether it matters. A head may look at a token and copy nothing of it, and after an ablation later heads may take over. A score is measured on this text alone; one that rests on few queries is noise.",
    "defaults": {
      "model": "smollm2-135m",
      "ablate": [],
      "ablation": "zero"
    }
  },
  "head": {
    "title": "One attention head",
    "about": "Who looks at whom in this head. Row i, column j is the weight a[i, j] = softmax_j(q_i · k_j / √d_head) with which position i reads from position j; a row sums to 1. In a causal model a position sees itself and those before it. Weights are shown to about three digits (half precision); inspecting a row gives them exactly, with the scores before the softmax.\n\nWhat this cannot tell you: what is read, and whether it matters. The head moves W_V W_O of what it looks at, which may be nothing; ablate it to see what changes.",
    "defaults": {
      "model": "smollm2-135m",
      "ablate": [],
      "ablation": "zero"
    }
  },
  "head_row": {
    "title": "One row of an attention head",
    "about": "What one position looks at, exactly as computed in float32: the scores s_j = q_i · k_j / √d_head and the weights exp(s_j) / Σ exp(s_j), for the keys j that the position can see.\n\nWhat this cannot tell you: a score means something only beside the others of its row.",
    "defaults": {
      "model": "smollm2-135m",
      "ablate": [],
      "ablation": "zero"
    }
  },
  "logit_lens": {
    "title": "Logit lens",
    "about": "What the model would answer if it stopped early. At each stop on the residual stream x, the stream is read as if it were the last: p = softmax(W_U · norm(x)), with the model's own final norm and unembedding (nostalgebraist 2020). Each cell is the best guess there; the last row is the model's real output, and the picture says by how much the two differ.\n\nWhat this cannot tell you: a layer's stream is written for the layers after it, not for the unembedding, so an early row may be nonsense though the answer is already there in another basis. That a guess appears at a layer does not say that this layer computed it.",
    "defaults": {
      "model": "smollm2-135m",
      "chosen": null
    }
  }
} as const;
