// Written by `python -m llm_workings.views.typescript`. Do not edit.

/** An array of the wire: its numbers, row by row, and its shape. */
export interface NdArray<Data> {
  data: Data;
  shape: number[];
}

/** What stood in the place of what was taken out. */
export interface Stood {
  instead: "zero" | "mean" | "resample";
  source: "written" | "ioi" | "repeated" | "facts" | "greater_than" | "agreement" | "pronouns" | "docstring" | "own";
  seed: number;
  /** In words, exactly: `the mean at the same position over 12 texts of 14 tokens ...`. */
  said: string;
  /** The other texts themselves; none for zero. */
  texts: string[];
}

/** One token, exactly. Bytes that are no whole character are written `\xNN` in `text`. */
export interface Token {
  id: number;
  text: string;
  special: boolean;
}

/** One candidate for what stands at a position, as the model scores it. */
export interface Guess {
  token: Token;
  probability: number;
  logit: number;
  /** 0 is the best. */
  rank: number;
}

/** The answer with some parts taken out together, beside the model's own. */
export interface AblatedAnswer {
  out: string[];
  stood: Stood;
  metric: "logit_difference" | "logit" | "probability" | "log_probability" | "loss" | "divergence";
  unit: string;
  before: number;
  after: number;
  answer_position: number;
  /** The model's own best answers, and how those of `answer` stand with it. */
  unablated: Guess[];
  /** The best answers without the parts, and how the model's own best stands then. */
  answer: Guess[];
  /** What the model writes on from the text, the best guess at each step; empty if it cannot. */
  written_before: Token[];
  /** The same without the parts. */
  written_after: Token[];
  /** At which tokens the parts are out while it writes, in words. */
  holds: string;
}

export interface AblatedAnswerRequest {
  /** The text the model reads. */
  prompt: string;
  /** The parts to take out together: head.23.3, mlp.4, attention.2, layer.7, neuron.21.780. */
  out: string[];
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** One token, its leading space included. Left out, it is the model's own best guess. */
  answer?: string | null;
  /** The token whose logit is taken off the answer's. Left out, nothing is. */
  wrong?: string | null;
  /** Where the answer is read, a token of the text from 0. Left out, it is the last one, or the first mask of a masked-language model. */
  position?: number | null;
  /** What stands in the place of a part that is taken out: zero, the mean of what it writes in other texts, or what it writes in one of them. */
  instead?: "zero" | "mean" | "resample";
  /** What is measured: the logit difference of answer and wrong answer, the answer's logit, probability or log probability, the loss on the text, or the divergence (KL) from the model's own. */
  metric?: "logit_difference" | "logit" | "probability" | "log_probability" | "loss" | "divergence";
  /** Where the other texts come from: written (by the model itself, from this text's first token on), a prompt family, or own. */
  source?: "written" | "ioi" | "repeated" | "facts" | "greater_than" | "agreement" | "pronouns" | "docstring" | "own";
  /** Texts of your own to take the mean over or to draw from; with source 'own'. */
  texts?: string[];
  /** Of what is drawn: the texts, and which one. */
  seed?: number;
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

/** The measure as more and more parts are taken out, those that were missed most first. */
export interface Knocked {
  /** The parts in that order: `head.23.3` ... */
  order: string[];
  /** How many are out at each point. */
  counts: number[];
  /** `[point]` float32. */
  values: NdArray<Float32Array>;
  /** `[order, point]` float32. The same in orders of the same parts drawn at random. */
  random: NdArray<Float32Array>;
  seed: number;
}

/** What the layers' order costs. */
export interface Orders {
  metric: string;
  unit: string;
  base: number;
  /** `[layer]` float32. Without that layer: the stream goes past it. */
  skipped: NdArray<Float32Array>;
  /** `[layer]` float32. With that layer and the next exchanged; one fewer than layers. */
  swapped: NdArray<Float32Array>;
}

/** What becomes of a measure when each part is taken out alone, and when many are together. */
export interface Ablation {
  model: ModelCard;
  tokens: Token[];
  position: number;
  answer: Token;
  /** What the answer's logit is measured against; None for a measure that needs none. */
  wrong: Token | null;
  parts: "head" | "mlp" | "attention" | "layer" | "neuron";
  /** The layer whose neurons these are. */
  layer: number | null;
  metric: "logit_difference" | "logit" | "probability" | "log_probability" | "loss" | "divergence";
  unit: string;
  stood: Stood;
  /** The measure of the model as it is. */
  base: number;
  /** `[layer, index]` float32. The measure without each part; NaN where it is not worked out yet. Of neurons the one row is their layer's; of parts of which a layer has one, the one column. */
  values: NdArray<Float32Array>;
  /** None until it is worked out. */
  knocked: Knocked | null;
  /** None until it is worked out. */
  orders: Orders | null;
  complete: boolean;
}

export interface AblationRequest {
  /** The text the model reads. */
  prompt: string;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** One token, its leading space included. Left out, it is the model's own best guess. */
  answer?: string | null;
  /** The token whose logit is taken off the answer's. Left out, nothing is. */
  wrong?: string | null;
  /** Where the answer is read, a token of the text from 0. Left out, it is the last one, or the first mask of a masked-language model. */
  position?: number | null;
  /** What is taken out, one at a time: heads, MLPs, attentions, whole layers, or the neurons of one layer. */
  parts?: "head" | "mlp" | "attention" | "layer" | "neuron";
  /** What stands in the place of a part that is taken out: zero, the mean of what it writes in other texts, or what it writes in one of them. */
  instead?: "zero" | "mean" | "resample";
  /** What is measured: the logit difference of answer and wrong answer, the answer's logit, probability or log probability, the loss on the text, or the divergence (KL) from the model's own. */
  metric?: "logit_difference" | "logit" | "probability" | "log_probability" | "loss" | "divergence";
  /** Of which layer neurons are taken out; left out, the last. Of no effect on other parts. */
  layer?: number | null;
  /** Where the other texts come from: written (by the model itself, from this text's first token on), a prompt family, or own. */
  source?: "written" | "ioi" | "repeated" | "facts" | "greater_than" | "agreement" | "pronouns" | "docstring" | "own";
  /** Texts of your own to take the mean over or to draw from; with source 'own'. */
  texts?: string[];
  /** Of what is drawn: the texts, and which one. */
  seed?: number;
}

/** What a page says about a vision model. */
export interface NetCard {
  name: string;
  title: string;
  classes: string[];
  /** In the order in which they run. */
  layers: string[];
  /** Height and width of what it reads, in pixels. */
  size: number[];
  parameters: number;
  origin: string;
}

/** What is said of one row. */
export interface HeatmapUnit {
  unit: number;
  /** The class of the highest mean. */
  favourite: number | null;
  /** (its mean for that class - for the others) / their sum (Morcos et al. 2018). */
  selectivity: number | null;
  /** The share of pictures above 0. */
  firing: number;
  largest: number;
  /** dead, doubled, mixed: each with its number. */
  flags: string[];
}

/** Every unit of a layer for every picture. */
export interface ActivationHeatmap {
  net: NetCard;
  set: string;
  n: number;
  layer: string;
  layers: string[];
  order: "class" | "cluster" | "none";
  /** `[unit, picture]` float32. Each channel's mean over its places, by the numbers of units and pictures. */
  values: NdArray<Float32Array>;
  /** By their number. */
  units: HeatmapUnit[];
  /** `[row]` uint16. Which unit each row shows. */
  unit_order: NdArray<Uint16Array>;
  /** `[column]` uint16. */
  picture_order: NdArray<Uint16Array>;
  /** `[picture]` uint8. */
  labels: NdArray<Uint8Array>;
  /** `[picture]` uint8. */
  answers: NdArray<Uint8Array>;
  /** `[picture, row, column, channel]` uint8. */
  thumbnails: NdArray<Uint8Array>;
}

export interface ActivationHeatmapRequest {
  /** shapes-cnn, efficientnet-lite0 ... */
  net?: string;
  /** blocks.5, say; empty for the last but one. */
  layer?: string;
  /** How many pictures of the network's set to look at. */
  n?: number;
  /** By class, by what goes together (both ways), or as they are numbered. */
  order?: "class" | "cluster" | "none";
}

/** Whether a wrong answer can be told from inside, on pictures with noise. */
export interface Foretold {
  /** Standard deviation of what was added, of a pixel's range of 1. */
  noise: number;
  wrong: number;
  n: number;
  /** `[layer]` float32. Area under the ROC curve of a linear probe, on pictures it has not seen: 0.5 is chance. */
  by_layer: NdArray<Float32Array>;
  /** `[layer]` float32. Of a probe that learned shuffled labels. */
  shuffled: NdArray<Float32Array>;
  /** Of the answer's own doubt: the baseline. */
  doubt: number;
}

/** The pictures of a set in the plane of each layer, and what is measured of whole layers. */
export interface ActivationMap {
  net: NetCard;
  set: string;
  n: number;
  drawing: "pca" | "umap";
  seed: number;
  /** `[picture]` uint8. */
  labels: NdArray<Uint8Array>;
  /** `[picture]` uint8. */
  answers: NdArray<Uint8Array>;
  /** `[picture, row, column, channel]` uint8. */
  thumbnails: NdArray<Uint8Array>;
  layers: string[];
  /** How many of the layers are drawn; the rest is NaN. */
  done: number;
  /** `[layer, picture, axis]` float32. */
  flat: NdArray<Float32Array>;
  /** `[layer, axis]` float32. Of the variance, by each of the two directions; NaN for a drawing that is not linear. */
  shares: NdArray<Float32Array>;
  /** `[layer, picture]` uint8. By k-means, with as many clusters as there are classes. */
  clusters: NdArray<Uint8Array>;
  /** `[layer]` float32. Of clusters with classes, the adjusted Rand index: 1 the same, 0 as by chance. */
  agreement: NdArray<Float32Array>;
  /** `[layer]` float32. */
  silhouette: NdArray<Float32Array>;
  /** `[layer]` float32. Accuracy of a linear probe on pictures held back. */
  separability: NdArray<Float32Array>;
  /** What naming the most common class would have. */
  majority: number;
  /** `[layer, layer]` float32. Linear CKA, unbiased. */
  alike: NdArray<Float32Array>;
  /** The network whose layers are compared with; empty where there is none. */
  other: string;
  other_title: string;
  other_layers: string[];
  /** `[layer, other]` float32. */
  across: NdArray<Float32Array>;
  foretold: Foretold | null;
  /** Why it could not be asked. */
  not_foretold: string;
  complete: boolean;
}

export interface ActivationMapRequest {
  /** shapes-cnn, efficientnet-lite0 ... */
  net?: string;
  /** How many pictures of the network's set to look at. */
  n?: number;
  /** pca, or umap where umap-learn is installed. */
  drawing?: "pca" | "umap";
  /** Whose layers to compare with; empty: one like it where there is one. */
  other?: string;
  /** Of whatever is drawn at random. */
  seed?: number;
}

/** A picture as the network is given it: its size, its channels (grey is shown as three). */
export interface Picture {
  name: string;
  title: string;
  /** `[row, column, channel]` uint8. */
  pixels: NdArray<Uint8Array>;
  /** The true class, where it is known and the network has it. */
  label: number | null;
  /** 1 where the thing is that the label names; None where it is not known. */
  mask: NdArray<Uint8Array> | null;
  /** 1 where the planted shortcut is; None where there is none. */
  mark: NdArray<Uint8Array> | null;
}

/** One class as the network answers: its logit, its probability, its rank (0 is the best). */
export interface ClassScore {
  index: number;
  name: string;
  logit: number;
  probability: number;
  rank: number;
}

/** A picture, the misleading one made of it, and both inside; the same over a set of pictures. */
export interface Adversary {
  net: NetCard;
  picture: Picture;
  /** `[row, column, channel]` uint8. As a picture: rounded to 255ths, which the network was not. */
  misleading: NdArray<Uint8Array>;
  /** `[row, column, channel]` float16. Misleading less clean, of a pixel's range of 1. */
  change: NdArray<Float32Array>;
  /** The class it was to get away from: the true one; where that is not known, the one first answered. */
  away: number;
  before: ClassScore[];
  after: ClassScore[];
  attack: "pgd" | "fgsm";
  /** Of 255. */
  epsilon: number;
  steps: number;
  layers: string[];
  /** `[layer]` float32. */
  own_distance: NdArray<Float32Array>;
  /** `[layer]` float32. */
  own_noise: NdArray<Float32Array>;
  /** `[side, layer]` float32. Of the clean picture and of the misleading one; NaN without a reference. */
  own_strangeness: NdArray<Float32Array>;
  /** Whose pictures the rest is over; empty where the network has none. */
  set: string;
  done: number;
  n: number;
  /** `[layer, picture]` float32. |a' - a| / |a| of each picture of the set, misled. */
  distance: NdArray<Float32Array>;
  /** `[layer, picture]` float32. The same with noise of the same size instead. */
  noise: NdArray<Float32Array>;
  /** `[side, layer, picture]` float32. Mean distance to the five nearest of the reference: of the clean pictures, of the misleading ones. */
  strangeness: NdArray<Float32Array>;
  /** `[layer]` float32. Area under the ROC curve of telling them apart by strangeness: 0.5 is chance. */
  detection: NdArray<Float32Array>;
  /** The same by the answer's own doubt, 1 less its largest probability. */
  baseline: number;
  /** The share answered rightly when clean. */
  right: number;
  /** The share of those that no longer is. */
  fooled: number;
  /** The median of the largest probability: of clean pictures, of misleading ones. */
  sure: [number, number];
  /** Clean pictures that strangeness is measured from. */
  reference: number;
  complete: boolean;
}

export interface AdversaryRequest {
  /** shapes-cnn, efficientnet-lite0 ... */
  net?: string;
  /** shapes:12 (a set and a number), cat, own:... (a picture you gave), or a file; empty for the network's own first. */
  picture?: string;
  /** pgd: many small steps; fgsm: one step of the gradient's sign. */
  attack?: "pgd" | "fgsm";
  /** How far any pixel may change, of 255. */
  epsilon?: number;
  /** Of the pgd attack. */
  steps?: number;
  /** How many pictures of the network's set to look at. */
  n?: number;
  /** Of whatever is drawn at random. */
  seed?: number;
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

/** A second text, and how every head's pattern on the first differs from that on it. */
export interface OtherText {
  text: string;
  tokens: Token[];
  /** `[layer, head, row, column]` uint8. As the first text's. */
  thumbnails: NdArray<Uint8Array>;
  /** The model's answer to it, under the same ablation. */
  answer: Guess[];
  /** Why there is no difference to show: where the two texts do not align. Empty if they do. */
  apart: string;
  /** The positions at which they have different tokens. */
  differs: number[];
  /** `[layer, head, row, column]` int8. This text's thumbnail less the other's, 127 for 1; all 0 where the texts do not align. */
  difference: NdArray<Int8Array>;
  /** `[layer, head]` float32. Half the sum of |a - a'| over keys, mean over queries: the share of a query's weight that goes elsewhere. 0 where the texts do not align. */
  moved: NdArray<Float32Array>;
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
  /** The second text, if there is one. */
  other: OtherText | null;
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
  /** Another text to compare with, of the same number of tokens. */
  corrupted?: string | null;
}

/** One method's map of the picture, and what can be said of it at once. */
export interface Tile {
  name: string;
  family: "slope" | "share" | "covering" | "class activation map" | "relevance";
  what: string;
  /** Of a class activation map: where it was taken. */
  layer: string | null;
  /** `[row, column]` float32. Signed; of a layer's own size for a class activation map, else of the picture's. */
  map: NdArray<Float32Array>;
  /** The largest absolute value. */
  most: number;
  /** The absolute value that 99.5 % of the places stay below: where the colour is full. */
  full: number;
  /** The mean absolute value. */
  mean: number;
  /** The sum of all values (of all channels). */
  total: number;
  /** What they should add up to, where the method promises that. */
  expected: number | null;
  /** The true mask's share of all that is positive. */
  mass: number | null;
  /** Whether the strongest place lies in the true mask, or next to it. */
  hit: boolean | null;
  /** The planted mark's share of all that is positive. */
  on_mark: number | null;
  notes: string[];
  /** That it took; maps of all layers come together. */
  seconds: number | null;
}

/** A method that was not worked out, for it takes long. */
export interface Later {
  name: string;
  what: string;
  /** Of the network. */
  runs: number;
}

/** A method that cannot be worked out here. */
export interface Absent {
  name: string;
  why: string;
}

/** A picture, what the network says of it, and every method's map of why. */
export interface AttributionGallery {
  net: NetCard;
  picture: Picture;
  /** The best classes, the one explained, the one it is compared with and the true one. */
  scores: ClassScore[];
  target: number;
  contrast: number | null;
  /** What is explained: the logit, or the difference of the two. */
  score: number;
  /** Whose class activation maps are here, in the order in which they run. */
  layers: string[];
  /** The one that was asked for. */
  layer: string | null;
  seed: number;
  tiles: Tile[];
  later: Later[];
  absent: Absent[];
  /** The true mask's share of the picture: what chance gives. */
  area: number | null;
  /** The planted mark's share of the picture. */
  mark_area: number | null;
  /** Methods that are not worked out yet. */
  waiting: string[];
}

export interface AttributionGalleryRequest {
  /** shapes-cnn, efficientnet-lite0 ... */
  net?: string;
  /** shapes:12 (a set and a number), cat, own:... (a picture you gave), or a file; empty for the network's own first. */
  picture?: string;
  /** The class to explain, by number; empty for the best guess. */
  target?: number | null;
  /** A class whose logit is taken away: why the one rather than the other? Empty for none. */
  contrast?: number | null;
  /** Which methods; empty for all. */
  methods?: string[];
  /** Where class activation maps are taken; empty for the last that has places. */
  layer?: string | null;
  /** Of SmoothGrad's noise and of random weights. */
  seed?: number;
}

/** Whether a map is about the network, and whether what it marks matters to it. */
export interface AttributionChecks {
  method: string;
  layer: string | null;
  target: number;
  contrast: number | null;
  seed: number;
  /** Down to which layer, from the last, weights are random; the first is "": none is. */
  randomized: string[];
  /** `[step]` float32. Rank correlation of the map then with the map of the trained network. */
  spearman: NdArray<Float32Array>;
  /** `[step]` float32. The same of the absolute values. */
  spearman_absolute: NdArray<Float32Array>;
  /** `[stop, row, column]` float32. The map at each of these, small, each over its own largest absolute value: from -1 to 1. */
  thumbnails: NdArray<Float32Array>;
  /** What the curves are of: a probability or a difference of logits. */
  measure: string;
  /** `[step]` float32. Of the pixels that are taken, from 0 to 1. */
  share: NdArray<Float32Array>;
  /** `[step]` float32. With that share covered by grey, the strongest first. */
  deletion: NdArray<Float32Array>;
  /** `[step]` float32. With only that share in sight. */
  insertion: NdArray<Float32Array>;
  /** `[step]` float32. In a random order. */
  deletion_random: NdArray<Float32Array>;
  /** `[step]` float32. */
  insertion_random: NdArray<Float32Array>;
  /** Under deletion, insertion and the two in a random order. */
  areas: number[];
  complete: boolean;
}

export interface AttributionChecksRequest {
  /** shapes-cnn, efficientnet-lite0 ... */
  net?: string;
  /** shapes:12 (a set and a number), cat, own:... (a picture you gave), or a file; empty for the network's own first. */
  picture?: string;
  /** The class to explain, by number; empty for the best guess. */
  target?: number | null;
  /** A class whose logit is taken away: why the one rather than the other? Empty for none. */
  contrast?: number | null;
  /** saliency, Grad-CAM, LRP EpsilonPlus ... */
  method?: string;
  /** Where class activation maps are taken; empty for the last that has places. */
  layer?: string | null;
  /** Of SmoothGrad's noise and of random weights. */
  seed?: number;
}

/** One method over the set, means over the pictures. */
export interface TableRow {
  name: string;
  family: "slope" | "share" | "covering" | "class activation map" | "relevance";
  /** How often the strongest place lies in the true mask, or next to it. */
  pointing: number;
  /** The true mask's share of all that is positive. */
  mass: number;
  /** The planted mark's share of all that is positive. */
  on_mark: number | null;
  /** How often the strongest place lies in the mark, or next to it. */
  pointing_mark: number | null;
  deletion: number;
  /** Areas under the curves of the class's probability. */
  insertion: number;
  random: number;
  /** Rank correlation of the map with one of random weights, and of their absolute values. */
  random_absolute: number;
  /** |sum - what it should be| over that, the median, where a sum is promised. */
  error: number | null;
  /** A picture. */
  seconds: number;
}

/** Every method over a set of pictures whose truth is known. */
export interface AttributionTable {
  net: NetCard;
  set: string;
  set_title: string;
  n: number;
  seed: number;
  layer: string | null;
  /** The true masks' mean share of the picture: the mass that chance gives. */
  area: number;
  mark_area: number | null;
  /** Areas under deletion and insertion in a random order. */
  by_chance: number[];
  /** How many of the pictures the network answers rightly. */
  right: number;
  rows: TableRow[];
  waiting: string[];
}

export interface AttributionTableRequest {
  /** shapes-cnn, efficientnet-lite0 ... */
  net?: string;
  /** One whose true masks are known, such as shapes; empty for the network's own. */
  pictures?: string;
  /** How many pictures, from the set's first. */
  n?: number;
  /** Which methods; empty for all. */
  methods?: string[];
  /** Where class activation maps are taken; empty for the last that has places. */
  layer?: string | null;
  /** Of SmoothGrad's noise and of random weights. */
  seed?: number;
}

/** A term that is of no layer: an embedding, or a bias at the end. */
export interface Constant {
  /** `embed`, `pos_embed`, `final_norm.bias`, `unembed.bias` ... */
  name: string;
  value: number;
  /** It enters before the first layer; the others are added after the last. */
  first: boolean;
}

/** A logit, or the difference of two, as a sum of what each part writes into it, in logits. Level by level the same sum: attention = heads + attention_bias, a head = sources + value_bias, mlp = neurons + mlp_bias. */
export interface DirectAttribution {
  model: ModelCard;
  tokens: Token[];
  /** Where the answer is read. */
  position: number;
  answer: Token;
  /** The token whose logit is taken off; None where there is no difference. */
  wrong: Token | null;
  /** The model's best answers there, best first; the answer and the wrong one among them. */
  guesses: Guess[];
  /** What the model itself says: the logit, or the difference. */
  logit: number;
  /** What all terms add up to, in double precision. */
  total: number;
  /** How the final norm is treated, with its divisor. */
  norm: string;
  /** What the final norm divides by at that position; 1 without a norm. */
  scale: number;
  by: "layer" | "part" | "head" | "source" | "neuron";
  constants: Constant[];
  /** `[layer]` float64. */
  attention: NdArray<Float64Array>;
  /** None for a model that has attention only. */
  mlp: NdArray<Float64Array> | null;
  /** `[layer, head]` float64. */
  heads: NdArray<Float64Array>;
  /** What the output's bias of each attention adds; None where there is none. */
  attention_bias: NdArray<Float64Array> | null;
  /** `[layer, head, source]` float32. pattern * (v W_O . r): what each head moves here from each position up to this one. */
  sources: NdArray<Float32Array>;
  /** `[layer, head, source]` float32. The weight with which each head reads each of them. */
  pattern: NdArray<Float32Array>;
  /** What the bias of the values adds through each head; None where there is none. */
  value_bias: NdArray<Float64Array> | null;
  /** activation * (w_out . r). */
  neurons: NdArray<Float32Array> | null;
  activations: NdArray<Float32Array> | null;
  /** What the output's bias of each MLP adds; None where there is none. */
  mlp_bias: NdArray<Float64Array> | null;
}

export interface DirectAttributionRequest {
  /** The text the model reads. */
  prompt: string;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** One token, its leading space included. Left out, it is the model's own best guess. */
  answer?: string | null;
  /** The token whose logit is taken off the answer's. Left out, nothing is. */
  wrong?: string | null;
  /** Where the answer is read, a token of the text from 0. Left out, it is the last one, or the first mask of a masked-language model. */
  position?: number | null;
  /** How far: layer (attention and MLP together), part (each attention, each MLP), head (attention by head), source (heads by the token they read) or neuron (MLPs by neuron). */
  by?: "layer" | "part" | "head" | "source" | "neuron";
}

/** Some pictures, with what a unit makes of each. */
export interface Examples {
  /** By which each can be asked for. */
  names: string[];
  /** Their true classes; empty where they are not known. */
  labels: string[];
  /** `[example, row, column, channel]` uint8. */
  pixels: NdArray<Uint8Array>;
  /** `[example]` float32. */
  values: NdArray<Float32Array>;
  /** `[example, axis]` float32. Where it is strongest: shares of the height and the width; NaN where it has no places. */
  peaks: NdArray<Float32Array>;
}

/** What was asked, the defaults filled in; the pictures and the way there; the real pictures. */
export interface FeatureVisualization {
  net: NetCard;
  kind: "channel" | "neuron" | "logit" | "direction" | "pair";
  layer: string;
  unit: number;
  other: number | null;
  /** What is climbed, in words. */
  subject_name: string;
  /** How many channels the layer has, or classes the net. */
  units: number;
  waves: boolean;
  robust: boolean;
  diversity: number;
  seeds: number[];
  steps: number;
  /** Whether the last step is done. */
  complete: boolean;
  /** `[frame, seed, row, column, channel]` uint8. The way, the grey noise of the beginning first; of a large net every second pixel. */
  frames: NdArray<Uint8Array>;
  /** `[frame]` int32. */
  frame_steps: NdArray<Int32Array>;
  /** `[frame, seed]` float32. The objective of each of these pictures as it is, not turned or shifted. */
  frame_values: NdArray<Float32Array>;
  about_real: string;
  n_real: number;
  /** The real pictures that it is highest for, best first. */
  best: Examples;
  /** Some drawn at random: what "highest" is to be compared with. */
  drawn: Examples;
  /** The picture that the page is about. */
  here: Examples;
  real_median: number;
  /** The made pictures against the real ones, in words. */
  compared: string;
}

export interface FeatureVisualizationRequest {
  /** shapes-cnn, efficientnet-lite0 ... */
  net?: string;
  /** channel (its mean over places), neuron (the channel at the middle place), logit (of a class), direction (in which a class stands apart in the layer), pair (two channels together). */
  kind?: "channel" | "neuron" | "logit" | "direction" | "pair";
  /** By its name in the net; empty for one two thirds up. */
  layer?: string;
  /** A channel of the layer, or a class; empty for a telling one. */
  unit?: number | null;
  /** The second channel of a pair. */
  other?: number | null;
  /** shapes:12 (a set and a number), cat, own:... (a picture you gave), or a file; empty for the network's own first. */
  picture?: string;
  /** How many pictures; empty: 4, of a large net 2. */
  seeds?: number | null;
  /** Of the ascent; empty: 160, of a large net 48. */
  steps?: number | null;
  /** How much the pictures are pushed to differ. */
  diversity?: number;
  /** Climb in waves; without, pixel by pixel, which makes noise. */
  waves?: boolean;
  /** Turn, zoom and shift the pictures a little at each step. */
  robust?: boolean;
  /** Of the first picture's noise. */
  seed?: number;
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
  /** `[key]` float32. |v W_O| of each key: times its weight, the length of what the head moves from it (Kobayashi et al. 2020, "Attention is not only a weight"). */
  value_norms: NdArray<Float32Array>;
  /** `[entry]` float32. q . k / sqrt(d_head), in the order of `pattern`; empty unless they were asked for. */
  scores: NdArray<Float32Array>;
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
  /** Whether the scores before the softmax are to come with it. */
  with_scores?: boolean;
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
  /** `[key]` float32. |v W_O| of each key, with the bias of the values, without that of the output. */
  value_norms: NdArray<Float32Array>;
  /** `[key]` float32. pattern * value_norms: the length of what the head moves from each key. */
  weighted: NdArray<Float32Array>;
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

/** A token and a number that belongs to it. */
export interface TokenValue {
  token: Token;
  value: number;
}

/** What the head writes where it looks at one of the text's tokens. */
export interface Copied {
  token: Token;
  /** What it raises most, best first. */
  promoted: Token[];
  /** Where the token itself stands among all that the head raises; 0 is the most raised. */
  rank: number;
}

/** Whether the head writes for the token that it looks at, over a sample of the vocabulary. */
export interface CopyingScore {
  /** The fraction of sampled tokens that are among the `k` tokens raised most where it looks at them. */
  copied: number;
  /** The fraction among the `k` lowered most. */
  suppressed: number;
  /** Median over the sample of the share of the vocabulary raised more than the token itself. */
  median: number;
  k: number;
  /** k / vocabulary: either fraction for a head that knows nothing of tokens. */
  chance: number;
  sample: number;
  seed: number;
  /** Whether the sample is the whole vocabulary. */
  whole: boolean;
}

/** Which keys the query token prefers by what the two tokens are, without positions or context. */
export interface LooksFor {
  query: Token;
  /** `[token]` float32. Of each of the text's tokens, in the units of the head's scores. */
  text: NdArray<Float32Array>;
  /** `[token]` float32. The scores of the run itself, of the keys that the query sees. */
  seen: NdArray<Float32Array>;
  /** `[token]` float32. The share of the sample that scores below each of the text's tokens. */
  above: NdArray<Float32Array>;
  /** Of the sample, highest first. */
  most: TokenValue[];
  /** Of the sample, lowest first. */
  least: TokenValue[];
}

/** What one head writes at a position, copies and looks for. */
export interface HeadCircuits {
  model: ModelCard;
  tokens: Token[];
  layer: number;
  head: number;
  key_value_head: number;
  position: number;
  /** The tokens whose logit the head raises most at this position, in logits. */
  promoted: TokenValue[];
  /** Those it lowers most. */
  suppressed: TokenValue[];
  /** How the final norm was treated. */
  norm: string;
  answer: Token;
  wrong: Token | null;
  /** The answer's logit there (less the wrong one's), as the model said. */
  logit: number;
  /** What of it the head writes by itself. */
  share: number;
  /** `[key]` float64. That share by the token it came from; adds up to `share`. */
  by_source: NdArray<Float64Array>;
  /** What stood for a token in what follows. */
  reads: "first_mlp" | "embedding";
  /** Each token that the text has, once, in order. */
  copies: Copied[];
  copying: CopyingScore;
  looks_for: LooksFor;
}

export interface HeadCircuitsRequest {
  /** The text the model reads. */
  prompt: string;
  /** A block of the model, from 0. */
  layer: number;
  /** A head of that layer, from 0. */
  head: number;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** The query token whose writing is read; by default the last one. */
  position?: number | null;
  /** One token, its leading space included. Left out, it is the model's own best guess. */
  answer?: string | null;
  /** The token whose logit is taken off the answer's. Left out, nothing is. */
  wrong?: string | null;
  /** Its embedding with what the first MLP adds to it, or its embedding alone. */
  reads?: "first_mlp" | "embedding";
  /** The heads to switch off while the model reads the text. */
  ablate?: HeadRef[];
  /** What a switched-off head's output is replaced by: zero, or its own mean over the text. */
  ablation?: "zero" | "mean";
}

/** A corpus that neurons can be read over. */
export interface CorpusEntry {
  name: string;
  title: string;
  characters: number;
  passages: number;
}

/** The token that a head attends to most from a place, the first and the place itself aside. */
export interface LookedAt {
  token: Token;
  /** Counted in the passage. */
  position: number;
  weight: number;
}

/** A place in the corpus, with what stands around it. */
export interface NeuronExample {
  passage: number;
  /** Counted in the passage. */
  position: number;
  tokens: Token[];
  /** `[place]` float32. The activations; NaN for tokens that do not count. */
  values: NdArray<Float32Array>;
  /** Which of the tokens it is. */
  at: number;
  /** Of a head: where it looks; None of what is no head. */
  looked: LookedAt | null;
}

/** A kind of token, the neuron's mean activation at it, and how often it came. */
export interface TokenActivation {
  token: Token;
  mean: number;
  count: number;
}

/** Something of a head, or how far the stream lies along a direction, over a corpus. */
export interface CorpusTexts {
  layer: number;
  corpus: CorpusEntry;
  /** Tokens that were read and count. */
  tokens: number;
  /** Tokens of the whole corpus. */
  whole: number;
  mean: number;
  /** Standard deviation. */
  spread: number;
  low: number;
  high: number;
  /** Where it goes highest, one place a passage. */
  top: NeuronExample[];
  bottom: NeuronExample[];
  /** Places drawn at random, the same for all units that are read together. */
  drawn: NeuronExample[];
  /** The kinds of tokens with the highest means, of those that came 3 times or more. */
  selective: TokenActivation[];
  /** Those with the lowest. */
  averse: TokenActivation[];
  /** The share of its variance that the kind of token explains (epsilon squared); NaN of none. */
  selectivity: number;
  /** What the number is, in words. */
  name: string;
  /** None of a direction. */
  head: number | null;
  by: "attends" | "off_first" | "writes" | null;
  /** Passages that are not read, for the direction was made of them. */
  left_out: number;
}

export interface HeadTextsRequest {
  /** A block of the model, from 0. */
  layer: number;
  /** A head of that layer, from 0. */
  head: number;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** attends (the largest weight on a token that is neither the first nor itself), off_first (all the weight that is not on the first), or writes (the length of what the head adds). */
  by?: "attends" | "off_first" | "writes";
  /** built-in, or the name of a text that was kept: text- and 16 digits of its hash. */
  corpus?: string;
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

/** A dense network and its training. `activations` holds one name a layer of weights; one name alone means every hidden layer, and the output then gets what the loss asks for. All sizes are numbers of units, all counts are of updates. */
export interface Config {
  /** Units a layer, inputs first, outputs last. */
  layers: number[];
  /** One a layer of weights, the output's last. */
  activations: ("linear" | "relu" | "leaky_relu" | "tanh" | "sigmoid" | "softplus" | "gelu" | "silu" | "sine" | "softmax")[];
  loss: "mse" | "mae" | "huber" | "binary_cross_entropy" | "cross_entropy" | "hinge";
  /** xavier: uniform within ±√(6 / (in + out)). he: normal, variance 2 / in. lecun: normal, variance 1 / in. uniform: within ±init_scale. constant: init_scale itself. */
  init: "xavier" | "he" | "lecun" | "uniform" | "constant";
  init_scale: number;
  bias_init: number;
  optimizer: "sgd" | "momentum" | "nesterov" | "rmsprop" | "adam" | "adamw";
  learning_rate: number;
  /** Of momentum and nesterov. */
  momentum: number;
  /** Of rmsprop: how much of the mean square is kept. */
  decay: number;
  beta1: number;
  /** Of adam and adamw. */
  beta2: number;
  epsilon: number;
  /** Of adamw only: taken off the weights themselves, not through the gradient. */
  weight_decay: number;
  schedule: "constant" | "step" | "exponential" | "cosine";
  /** step: updates between two cuts. exponential: updates for one factor. cosine: updates to zero. */
  schedule_every: number;
  schedule_factor: number;
  /** Updates over which the learning rate rises linearly to its value. */
  warmup: number;
  /** Samples an update; more than there are means all of them. */
  batch_size: number;
  /** Adds l1 · Σ|w| to the loss. */
  l1: number;
  /** Adds l2 / 2 · Σw² to the loss. */
  l2: number;
  penalize_bias: boolean;
  /** Takes this times the entropy of the output's distribution off the loss (Pereyra et al. 2017). */
  confidence_penalty: number;
  huber_delta: number;
  leaky_slope: number;
  /** Longest gradient: a longer one is scaled down to it (norm over all parameters). */
  clip: number | null;
  /** Of the first weights and of the order of the samples. */
  seed: number;
}

/** A data set, said in full: the same spec gives the same points. */
export interface DataSpec {
  name: "xor_points" | "xor" | "circles" | "moons" | "spiral" | "gaussians" | "blobs" | "checkerboard" | "plane" | "wave" | "bump" | "curve" | "digits" | "csv" | "painted";
  /** Samples to draw; xor_points, digits, csv and painted have their own number. */
  n: number;
  /** 0 draws the shape itself; 0.5 blurs it by about half its size. */
  noise: number;
  /** Of blobs only. */
  classes: number;
  /** Share of the samples that is held back. */
  test: number;
  /** What of a point of the plane the network reads. */
  features: ("x" | "y" | "x\u00b2" | "y\u00b2" | "xy" | "sin x" | "sin y")[];
  seed: number;
  /** The text of a CSV file, for the name csv. */
  csv: string;
  /** Its target column; empty: the last one. */
  target: string;
  /** Points set by hand, for the name painted: x, y, class (0 or 1 ...). */
  painted: [number, number, number][];
}

/** What the picture is of: changes with the data and the architecture only. */
export interface Setting {
  config: Config;
  data: DataSpec;
  n_parameters: number;
  task: "classes" | "regression";
  classes: string[];
  coordinates: string[];
  /** Names of the inputs. */
  features: string[];
  /** Of the ground the function is drawn on: 2 a plane, 1 a line, 0 none. */
  dimensions: number;
  /** Lowest and highest coordinate shown; empty without a ground. */
  domain: number[];
  /** Pixels of a side where a sample is a square picture (digits: 8), else 0. */
  image_side: number;
  /** `[sample, coordinate]` float32. */
  points: NdArray<Float32Array>;
  /** `[sample, output]` float32. The class, or the values. */
  targets: NdArray<Float32Array>;
  /** `[sample]` uint8. 1 for a test sample. */
  held_back: NdArray<Uint8Array>;
  steps_an_epoch: number;
}

/** One line of the tree of training: from where it left its parent to its tip. */
export interface Branch {
  id: number;
  parent: number | null;
  start: number;
  tip: number;
  /** What was changed where it began, such as "learning_rate 0.3 → 0.1"; empty for the first. */
  label: string;
  config: Config;
  /** `[point]` int32. Where the curves have a point; thinned as the branch grows. */
  steps: NdArray<Int32Array>;
  /** `[point]` float32. */
  train: NdArray<Float32Array>;
  /** `[point]` float32. */
  test: NdArray<Float32Array>;
  /** `[point]` float32. */
  train_accuracy: NdArray<Float32Array>;
  /** `[point]` float32. */
  test_accuracy: NdArray<Float32Array>;
  /** `[point]` float32. */
  confidence: NdArray<Float32Array>;
  /** `[point]` float32. */
  l1: NdArray<Float32Array>;
  /** `[point]` float32. */
  l2: NdArray<Float32Array>;
}

/** All branches, and where the picture stands. */
export interface Tree {
  branches: Branch[];
  branch: number;
  step: number;
}

/** On the whole training and test set, at one step. NaN where there is no test set, or no accuracy. */
export interface Losses {
  train: number;
  test: number;
  train_accuracy: number;
  test_accuracy: number;
  confidence: number;
  l1: number;
  l2: number;
  /** train + confidence + l1 + l2. */
  total: number;
}

/** One sample through the network, forwards and backwards, with the frame's parameters. */
export interface SamplePass {
  /** Of the data set. */
  index: number;
  /** A layer of units each, the inputs first. */
  activations: NdArray<Float64Array>[];
  /** A layer of weights each: what the activation is taken of. */
  pre: NdArray<Float64Array>[];
  /** dL/dz of this sample's loss, a layer of weights each. */
  delta: NdArray<Float64Array>[];
  /** `[unit]` float64. */
  target: NdArray<Float64Array>;
  loss: number;
}

/** One moment of the training, as drawn. */
export interface Frame {
  branch: number;
  step: number;
  epoch: number;
  learning_rate: number;
  weights: NdArray<Float64Array>[];
  biases: NdArray<Float64Array>[];
  /** `[row, column]` float32. The first output over the ground, lowest y in the first row; of several classes the winner's probability or value. One row on a line; empty without a ground. */
  surface: NdArray<Float32Array>;
  /** `[row, column]` uint8. The class decided for; empty for values. */
  winner: NdArray<Uint8Array>;
  /** `[unit, row, column]` int8. Each unit's activation over the ground, all layers in order: value = maps / 127 * map_scale. */
  maps: NdArray<Int8Array>;
  /** `[unit]` float32. */
  map_scale: NdArray<Float32Array>;
  /** `[sample, output]` float32. */
  outputs: NdArray<Float32Array>;
  /** `[sample]` uint8. 1 where the class decided for is not the sample's; all 0 for values. */
  wrong: NdArray<Uint8Array>;
  losses: Losses;
  sample: SamplePass | null;
}

/** What a diagnosis says, in words. */
export interface Finding {
  kind: "diverged" | "growing" | "dead" | "saturated" | "plateau" | "overfitting" | "solved";
  text: string;
  advice: string;
  places: string[];
}

/** A way from an input to an output, and the product of the weights on it. */
export interface PathStrength {
  units: number[];
  strength: number;
}

/** A derivative, measured by moving its parameter both ways a little. */
export interface Check {
  measured: number;
  /** |measured - derived| / max(1, |derived|). */
  difference: number;
}

/** One line of the algebra. `text` re-evaluates to `result` at the digits shown. */
export interface Equation {
  id: string;
  section: "forward" | "loss" | "backward" | "gradient" | "penalty" | "clip" | "optimizer" | "update";
  layer: number;
  unit: number;
  /** Of the batch; None for what belongs to the whole batch. */
  sample: number | null;
  title: string;
  /** LaTeX, in symbols. */
  symbolic: string;
  /** LaTeX, the same with the numbers in, up to and including the result. */
  numeric: string;
  /** The numbers as plain arithmetic, without the result. */
  text: string;
  result: string;
  /** Exact. */
  value: number;
  /** What in the picture it is about; the first is where it stands. */
  places: string[];
  check: Check | null;
}

/** The whole computation of one step, or the part of it that was asked for. */
export interface Algebra {
  step: number;
  /** The batch, as indices of the data set. */
  samples: number[];
  /** Whose forward and backward pass is written out: an index into `samples`. */
  sample: number;
  equations: Equation[];
  /** Equations of other units than those asked for. */
  left_out: number;
}

/** The history of one number. */
export interface Series {
  place: string;
  what: "weight" | "gradient" | "activation";
  /** `[point]` int32. */
  steps: NdArray<Int32Array>;
  /** `[point]` float64. */
  values: NdArray<Float64Array>;
}

/** What the panels beside the picture show of one moment: slower to make than a frame. */
export interface Details {
  branch: number;
  step: number;
  /** Of the step about to be taken, penalties included. */
  gradients: NdArray<Float64Array>[];
  bias_gradients: NdArray<Float64Array>[];
  norm: number;
  clipped: number;
  /** A layer of weights each: 1 where a unit answers the same to every training sample. */
  dead: NdArray<Uint8Array>[];
  /** 1 where its slope is next to nothing on nearly all training samples. */
  saturated: NdArray<Uint8Array>[];
  findings: Finding[];
  paths: PathStrength[];
  algebra: Algebra | null;
  history: Series | null;
}

/** A training that was recorded: its frames in order, and the details of some. */
export interface Recording {
  setting: Setting;
  tree: Tree;
  frames: Frame[];
  /** One a frame, or none. */
  details: Details[];
  /** Python that makes the same run. */
  script: string;
  left_out: string[];
}

export interface NetworkRequest {
  /** Layers, activations, loss, optimizer and all else that learns. */
  config?: Config;
  /** What the network learns from. */
  data?: DataSpec;
  /** Updates to make; recorded are some of them. */
  steps?: number;
  /** Moments to record, closer together at the beginning. */
  frames?: number;
  /** The sample that is followed, an index of the data set, from 0. */
  sample?: number | null;
  /** The unit (u1.2: unit 2 of layer 1, the inputs being layer 0), weight (w1.0.2) or bias (b1.2) whose equations are written out. Left out, those of all. */
  place?: string | null;
}

/** One neuron, by layer and index in it, both from 0. */
export interface NeuronRef {
  layer: number;
  neuron: number;
}

/** The neurons that come first on a text, in order. */
export interface NeuronListing {
  sort: "share" | "writes" | "activation" | "z";
  /** Of which layer they are; None for all. */
  layer: number | null;
  /** Where their sizes are read; None for where they are largest. */
  position: number | null;
  neurons: NeuronRef[];
  /** `[neuron, position]` float32. Their activations (mlp_post) along the text. */
  history: NdArray<Float32Array>;
  /** `[neuron]` float32. Of each, its share of the answer's logit; NaN where there is none. */
  share: NdArray<Float32Array>;
  /** `[neuron]` float32. Of each, |activation| times the length of its output row. */
  write: NdArray<Float32Array>;
  /** `[neuron]` float32. Of each, how far its activation is from its mean over the built-in corpus, in standard deviations; NaN where the layer's corpus was not read. */
  z: NdArray<Float32Array>;
  /** The layers whose built-in corpus was read, which `z` needs. */
  scanned: number[];
  /** Whether the first token is left out of the ranking by size: what stands there is of another kind. */
  first_left_out: boolean;
}

/** What each MLP writes at each token, and the neurons that matter. */
export interface Mlp {
  model: ModelCard;
  tokens: Token[];
  /** Neurons in a layer. */
  width: number;
  /** `[layer, position]` float32. |mlp_out|: the length of what the MLP adds to the stream. */
  norms: NdArray<Float32Array>;
  /** `[layer, position]` float32. |mlp_out| over the length of the stream that it is added to. */
  relative: NdArray<Float32Array>;
  /** `[layer]` float32. What each MLP adds to the answer's logit by itself; NaN where that is no sum (`why_no_share`). */
  shares: NdArray<Float32Array>;
  answer_position: number | null;
  answer: Token | null;
  /** If given, everything said of the answer's logit is of its difference to this one's. */
  wrong: Token | null;
  /** The answer's logit, or its difference to the wrong one's. */
  logit: number | null;
  /** The model's best answers. */
  guesses: Guess[];
  /** Why a neuron has no direct share of the answer in this model; empty where it has one. */
  why_no_share: string;
  /** The neurons that come first. */
  listing: NeuronListing;
}

export interface MlpRequest {
  /** The text the model reads. */
  prompt: string;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** One token, its leading space included. Left out, it is the model's own best guess. */
  answer?: string | null;
  /** The token whose logit is taken off the answer's. Left out, nothing is. */
  wrong?: string | null;
  /** share: of the answer's logit; writes: the size of what it writes into the stream; activation: how far from 0; z: how far from its mean over a corpus, in its standard deviations (layers whose corpus was read). */
  sort?: "share" | "writes" | "activation" | "z";
  /** Only neurons of this layer; left out, of all. */
  layer?: number | null;
  /** Where a neuron's size is read; left out, where it is largest. Shares are always read at the answer. */
  position?: number | null;
}

export interface MlpNeuronsRequest {
  /** The text the model reads. */
  prompt: string;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** One token, its leading space included. Left out, it is the model's own best guess. */
  answer?: string | null;
  /** The token whose logit is taken off the answer's. Left out, nothing is. */
  wrong?: string | null;
  /** share: of the answer's logit; writes: the size of what it writes into the stream; activation: how far from 0; z: how far from its mean over a corpus, in its standard deviations (layers whose corpus was read). */
  sort?: "share" | "writes" | "activation" | "z";
  /** Only neurons of this layer; left out, of all. */
  layer?: number | null;
  /** Where a neuron's size is read; left out, where it is largest. Shares are always read at the answer. */
  position?: number | null;
}

/** The tokens at both ends of a direction, with their scores; the furthest first. */
export interface VocabularyTerms {
  /** `gate`, `in` or `out`. */
  name: string;
  top: Token[];
  /** `[term]` float32. */
  top_scores: NdArray<Float32Array>;
  bottom: Token[];
  /** `[term]` float32. */
  bottom_scores: NdArray<Float32Array>;
  /** The standard deviation of the scores of all tokens. */
  spread: number;
}

/** Another neuron, and the cosine of the two output rows. */
export interface Alike {
  neuron: NeuronRef;
  cosine: number;
}

/** The answer when the neuron's activation is held at one value at every token. */
export interface Without {
  /** `zero`, or `mean`: its mean over this text, the first token left out. */
  how: string;
  /** What the activation is held at. */
  value: number;
  /** The answer's logit (or its difference to the wrong one's), without the neuron. */
  logit: number;
  /** That, less what it is with the neuron. */
  change: number;
  /** KL(with || without) of the answers, in nats. */
  divergence: number;
  /** The best answers without it, and how the one that is followed stands. */
  guesses: Guess[];
}

/** One neuron on this text, and what its weights say in terms of the vocabulary. */
export interface Neuron {
  model: ModelCard;
  tokens: Token[];
  layer: number;
  neuron: number;
  /** Neurons in its layer. */
  width: number;
  /** The activation function. */
  activation: string;
  /** Whether the activation function's output is multiplied with a second reading of the input. */
  gated: boolean;
  /** `[position]` float32. Before the activation function: the gate, in a gated MLP. */
  pre: NdArray<Float32Array>;
  /** What the gate multiplies; None where nothing is gated. */
  linear: NdArray<Float32Array> | null;
  /** `[position]` float32. The activation: what its output row is multiplied with. */
  post: NdArray<Float32Array>;
  /** Its input rows in terms of the embedding: `gate` and `in`, or `in` alone. */
  reads: VocabularyTerms[];
  /** Its output row in terms of the unembedding; None where the head is not linear in the stream. */
  writes: VocabularyTerms | null;
  /** The length of its output row. */
  write_length: number;
  /** The neurons of all layers whose output rows point most the same or the opposite way. */
  alike: Alike[];
  answer_position: number | null;
  answer: Token | null;
  wrong: Token | null;
  logit: number | null;
  guesses: Guess[];
  /** What it adds to the answer's logit by itself; None where that is no sum (`why_no_share`). */
  share: number | null;
  why_no_share: string;
  /** The answer without it: zero, then mean; empty for a model that answers nothing here. */
  without: Without[];
}

export interface NeuronRequest {
  /** The text the model reads. */
  prompt: string;
  /** A block of the model, from 0. */
  layer: number;
  /** A neuron of that layer's MLP, from 0. */
  neuron: number;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** One token, its leading space included. Left out, it is the model's own best guess. */
  answer?: string | null;
  /** The token whose logit is taken off the answer's. Left out, nothing is. */
  wrong?: string | null;
}

/** A cell of the picture. */
export interface PatchedPlace {
  layer: number;
  /** The head, or the neuron; None where the layer is patched whole, or for an MLP. */
  unit: number | null;
  position: number | null;
  value: number;
  /** In short: `23.3`, `MLP 4`, `layer 16 at 9`. */
  name: string;
}

/** The metric of every patched run, between those of the two runs themselves. */
export interface Patching {
  model: ModelCard;
  clean: Token[];
  corrupted: Token[];
  /** Positions at which the two texts have different tokens. */
  differs: number[];
  corrupted_text: string;
  /** What was changed to make the second text, if it was proposed; else empty. */
  proposed: string;
  answer: Token;
  wrong: Token;
  /** After which token the answer is read; of a masked-language model, at which. */
  position: number;
  /** The best guesses after the clean text, and how the two answers stand; best first. */
  clean_answer: Guess[];
  corrupted_answer: Guess[];
  direction: "denoising" | "noising";
  metric: string;
  /** What the metric is counted in. */
  unit: string;
  clean_value: number;
  corrupted_value: number;
  /** Whether the two runs score differently, so that there is a scale from 0 to 1 between them. */
  comparable: boolean;
  kind: "resid_pre" | "resid_mid" | "resid_post" | "attn_out" | "mlp_out" | "z" | "q" | "k" | "v" | "pattern" | "mlp_post" | "nodes";
  /** What is told apart, layer first; of nodes, the last column is the MLP. */
  axes: ("layer" | "position" | "head" | "neuron" | "node")[];
  layers: number[];
  /** `[layer, unit, position]` float64. The metric of each patched run; NaN where it is not computed (yet). An axis that is not told apart has one entry. */
  values: NdArray<Float64Array>;
  done: number;
  total: number;
  /** The patches that move the metric furthest from the run they are made in, best first. */
  strongest: PatchedPlace[];
}

export interface PatchingRequest {
  /** The text the model reads. */
  prompt: string;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** The corrupted text: as many tokens as the first, with another answer. Left out, one is proposed where the form of the text says what to change. */
  corrupted?: string | null;
  /** One token, its leading space included, that the clean text asks for. Left out, it is the model's best answer there. */
  answer?: string | null;
  /** One token, its leading space included, that the corrupted text asks for. Left out, it is the model's best other answer there. */
  wrong?: string | null;
  /** A site: resid_pre, resid_mid, resid_post, attn_out, mlp_out, z, q, k, v, pattern, mlp_post (neurons of one layer); or nodes, every head and MLP. */
  kind?: "resid_pre" | "resid_mid" | "resid_post" | "attn_out" | "mlp_out" | "z" | "q" | "k" | "v" | "pattern" | "mlp_post" | "nodes";
  /** Beside the layer: position, head, neuron, or several, such as 'head,position'. Left out, it is as usual for the site. */
  by?: string | null;
  /** denoising puts the clean run's values into the corrupted one, noising the corrupted run's into the clean one. */
  direction?: "denoising" | "noising";
  /** What is read off each patched run. Of the last two see docs/causal.md. */
  metric?: "logit_difference" | "logit" | "probability" | "log_probability" | "rank" | "kl" | "loss";
  /** The token after which the answer is read, from 0. Left out, it is the last, or the one mask. */
  at?: number | null;
  /** Sweep this layer alone. Left out, it is all of them; of neurons, the layer whose MLP moves the answer most. */
  only?: number | null;
}

/** What one of the three runs answers. */
export interface RunAnswer {
  run: "clean" | "corrupted" | "patched";
  /** Its metric. */
  value: number;
  /** The best, and how the two answers stand; best first. */
  guesses: Guess[];
  /** How it goes on, taking its best guess each time; empty for a model that reads both ways. */
  written: Token[];
}

/** One patch: the answer and the continuation of the clean, the corrupted and the patched run. */
export interface PatchedAnswer {
  model: ModelCard;
  kind: string;
  layer: number;
  /** The head (of keys and values: the key-value head) or neuron; None where all are patched. */
  unit: number | null;
  /** The position; None where all are patched. */
  where: number | null;
  direction: "denoising" | "noising";
  metric: string;
  unit_of_metric: string;
  answer: Token;
  wrong: Token;
  /** 0 as in the corrupted run, 1 as in the clean one; None where the two score the same. */
  normalized: number | null;
  runs: RunAnswer[];
}

export interface PatchedAnswerRequest {
  /** The text the model reads. */
  prompt: string;
  /** A block of the model, from 0. */
  layer: number;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** The corrupted text: as many tokens as the first, with another answer. Left out, one is proposed where the form of the text says what to change. */
  corrupted?: string | null;
  /** One token, its leading space included, that the clean text asks for. Left out, it is the model's best answer there. */
  answer?: string | null;
  /** One token, its leading space included, that the corrupted text asks for. Left out, it is the model's best other answer there. */
  wrong?: string | null;
  /** A site of the layer. */
  kind?: "resid_pre" | "resid_mid" | "resid_post" | "attn_out" | "mlp_out" | "z" | "q" | "k" | "v" | "pattern" | "mlp_post";
  /** Which one of the site; left out, all of it. */
  unit?: number | null;
  /** Which token; left out, all of them. */
  where?: number | null;
  /** denoising puts the clean run's values into the corrupted one, noising the corrupted run's into the clean one. */
  direction?: "denoising" | "noising";
  /** What is read off each patched run. Of the last two see docs/causal.md. */
  metric?: "logit_difference" | "logit" | "probability" | "log_probability" | "rank" | "kl" | "loss";
  /** The token after which the answer is read, from 0. Left out, it is the last, or the one mask. */
  at?: number | null;
  /** How many tokens each run goes on for. */
  length?: number;
}

/** A head or an MLP, and what its path does. */
export interface Sender {
  layer: number;
  /** None for the MLP. */
  head: number | null;
  /** By how much the metric changes. */
  effect: number;
}

/** What every sender's direct path into the receivers does to the metric. */
export interface Paths {
  model: ModelCard;
  clean: Token[];
  corrupted: Token[];
  /** Positions at which the two texts have different tokens. */
  differs: number[];
  corrupted_text: string;
  /** What was changed to make the second text, if it was proposed; else empty. */
  proposed: string;
  answer: Token;
  wrong: Token;
  /** After which token the answer is read; of a masked-language model, at which. */
  position: number;
  /** The best guesses after the clean text, and how the two answers stand; best first. */
  clean_answer: Guess[];
  corrupted_answer: Guess[];
  direction: "denoising" | "noising";
  metric: string;
  /** What the metric is counted in. */
  unit: string;
  clean_value: number;
  corrupted_value: number;
  /** Whether the two runs score differently, so that there is a scale from 0 to 1 between them. */
  comparable: boolean;
  /** As they are written; ["logits"] for the logits. */
  receivers: string[];
  /** Of receivers whose keys or values several heads share: which, in words. */
  shared: string[];
  mlps: "frozen" | "recomputed";
  /** `[layer, unit]` float64. The metric with each sender's path patched; the columns are the heads and then, if the model has one, the MLP. NaN where nothing is sent (the receivers are below), or where it is not computed yet. */
  values: NdArray<Float64Array>;
  /** `[layer, unit]` uint8. 1 where there is a sender. */
  sends: NdArray<Uint8Array>;
  done: number;
  total: number;
  strongest: Sender[];
}

export interface PathPatchingRequest {
  /** The text the model reads. */
  prompt: string;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** The corrupted text: as many tokens as the first, with another answer. Left out, one is proposed where the form of the text says what to change. */
  corrupted?: string | null;
  /** One token, its leading space included, that the clean text asks for. Left out, it is the model's best answer there. */
  answer?: string | null;
  /** One token, its leading space included, that the corrupted text asks for. Left out, it is the model's best other answer there. */
  wrong?: string | null;
  /** What receives: logits, or inputs of heads, such as 'v.23.3' (the values of head 3 in layer 23), 'q.23.3' (its query), 'k.23.3' (its keys); several with commas between. */
  receivers?: string;
  /** denoising puts the clean run's values into the corrupted one, noising the corrupted run's into the clean one. */
  direction?: "denoising" | "noising";
  /** frozen: a path leads straight through the stream. recomputed: MLPs answer to what the sender changed, as in Wang et al. 2022. */
  mlps?: "frozen" | "recomputed";
  /** What is read off each patched run. Of the last two see docs/causal.md. */
  metric?: "logit_difference" | "logit" | "probability" | "log_probability" | "rank" | "kl" | "loss";
  /** The token after which the answer is read, from 0. Left out, it is the last, or the one mask. */
  at?: number | null;
}

/** Something that can be chosen of a family. */
export interface FamilyOption {
  name: string;
  about: string;
  /** Empty for a number. */
  choices: string[];
  default: string;
  least: number;
  most: number;
}

/** A family of prompts in words. */
export interface FamilyCard {
  name: string;
  title: string;
  about: string;
  source: string;
  options: FamilyOption[];
}

/** A named stretch of both texts, in token positions. */
export interface Place {
  name: string;
  positions: number[];
}

/** Two texts, their answers, and how the model tells them apart. */
export interface DrawnPair {
  variant: string;
  clean_text: string;
  corrupted_text: string;
  clean: Token[];
  corrupted: Token[];
  differs: number[];
  right: string;
  wrong: string;
  places: Place[];
  /** logit(right) − logit(wrong) after the clean text; None where the model answers nothing there. */
  clean_difference: number | null;
  corrupted_difference: number | null;
}

/** Drawn pairs of a family. */
export interface Prompts {
  model: ModelCard;
  family: FamilyCard;
  families: FamilyCard[];
  seed: number;
  options: Record<string, string>;
  pairs: DrawnPair[];
  /** How many pairs there will be. */
  total: number;
  /** After how many of the clean texts the right answer has the larger logit. */
  right_preferred: number;
  /** Of how many pairs the answers are known. */
  measured: number;
}

export interface PromptsRequest {
  /** ioi, repeated, facts, greater_than, agreement, pronouns or docstring. Left out, it is the first of them that the model's vocabulary can write. */
  family?: string | null;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** How many pairs to draw. */
  n?: number;
  /** Which ones: the same seed draws the same. */
  seed?: number;
  /** Of the family, those not to be as usual, such as {'corruption': 'abc'}. */
  options?: Record<string, string | number>;
}

/** Two texts token over token, as they are typed: before anything is run. */
export interface TextPair {
  model: ModelCard;
  clean: Token[];
  /** Empty if there is no second text yet. */
  corrupted: Token[];
  corrupted_text: string | null;
  /** Positions at which the two have different tokens. */
  differs: number[];
  /** What was changed, in words, if the second text is a proposal; else empty. */
  proposed: string;
  answer: string | null;
  /** As given or proposed; None leaves them to the model. */
  wrong: string | null;
  /** What is wrong with the pair, in words; else empty. */
  trouble: string;
  hint: string;
  /** The position from which the two do not align. */
  parts_at: number | null;
}

export interface TextPairRequest {
  /** The text the model reads. */
  prompt: string;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** The corrupted text: as many tokens as the first, with another answer. Left out, one is proposed where the form of the text says what to change. */
  corrupted?: string | null;
  /** One token, its leading space included, that the clean text asks for. Left out, it is the model's best answer there. */
  answer?: string | null;
  /** One token, its leading space included, that the corrupted text asks for. Left out, it is the model's best other answer there. */
  wrong?: string | null;
}

/** One eraser, and what it does to the answers. */
export interface Erasure {
  name: string;
  /** Nats a position from the unedited answer to the edited one. */
  kl: number;
  /** Nats a token by which the loss rises; None for a model that does not predict the next token. */
  loss: number | null;
  /** Squared length of the change over that of the centred vectors. */
  change: number;
  /** By how much the logit of the right verb over the wrong one rises; of the made task `number` only. */
  verb: number | null;
}

/** Accuracies are of linear probes, on the vectors the eraser was made of and on others. */
export interface Erased {
  stop: string;
  task: string;
  /** Dimensions that are taken away. */
  rank: number;
  /** Of the stream. */
  width: number;
  n_train: number;
  n_test: number;
  /** The share of the most common label in the training. */
  majority: number;
  majority_test: number;
  /** On the training vectors, as they are. */
  before: number;
  /** The same of a new probe that learned from the erased vectors. */
  after: number;
  before_test: number;
  after_test: number;
  /** A new probe's accuracy on the test vectors after erasing each random subspace. */
  random_test: number[];
  /** Where in the sentences it was erased, in words. */
  where: string;
  /** In how many the answers were measured. */
  sentences: number;
  /** The property's, then random subspaces of the same rank; none for a model without answers. */
  effects: Erasure[];
}

export interface ErasedRequest {
  /** Where to erase: resid_post.20, say. */
  stop: string;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** What is read off the vectors: number, tense, sentiment, negation or position of made sentences; 'labelled' for your own texts; with a treebank part_of_speech, number, tense, dependency_relation, dependency_depth or feature:NAME. Left out: number, or position for a toy that has no letters for the sentences of the others. */
  task?: string;
  /** How many labelled words (or texts) to draw; 3 in 10 of the sentences are tested on. */
  n?: number;
  /** Of the sample, the split and the controls. */
  seed?: number;
  /** A line each: a label, a tab (or a |), a text; or a CSV with the columns label and text. */
  labelled?: string;
  /** Sentences in CoNLL-U, whose words are labelled. */
  conllu?: string;
}

/** Numbers by stop are NaN where the probe is not fitted yet, or has no such number. */
export interface ProbeLadder {
  model: ModelCard;
  task: string;
  /** What the label is, in a sentence. */
  about: string;
  /** Whether the score is an accuracy or an R2. */
  kind: "classes" | "values";
  unit: "words" | "texts";
  classes: string[];
  n_train: number;
  n_test: number;
  train_sentences: number;
  test_sentences: number;
  /** The score on the test items of always saying the training's most common label (its mean). */
  majority: number;
  /** The score of a dictionary: each word's most common label in the training. */
  lookup: number | null;
  /** How many different words were learned from; 0 for whole texts. */
  word_types: number;
  /** Whether those are few enough to learn by heart, so that the control task says little. */
  few_types: boolean;
  /** Bits a label of the uniform code. */
  uniform_bits: number | null;
  seed: number;
  /** Site names, in order. */
  stops: string[];
  /** How many of the stops have their probe. */
  done: number;
  /** `[stop]` float32. Accuracy, or R2, on the test items. */
  score: NdArray<Float32Array>;
  /** `[stop]` float32. Of the 95% interval, by drawing sentences again. */
  low: NdArray<Float32Array>;
  /** `[stop]` float32. */
  high: NdArray<Float32Array>;
  /** `[stop]` float32. */
  spearman: NdArray<Float32Array>;
  /** `[stop]` float32. The same score on the control task: a random label for each word type. */
  control: NdArray<Float32Array>;
  /** `[stop]` float32. */
  selectivity: NdArray<Float32Array>;
  /** `[stop]` float32. The score of a probe that learned shuffled labels. */
  shuffled: NdArray<Float32Array>;
  /** `[stop]` float32. Bits a training label by the online code. */
  bits: NdArray<Float32Array>;
  /** `[stop]` float32. How many times shorter than the uniform code that is. */
  compression: NdArray<Float32Array>;
  /** `[stop]` float32. */
  l2: NdArray<Float32Array>;
  /** `[stop]` float32. */
  mlp: NdArray<Float32Array>;
  /** `[stop]` float32. */
  mlp_control: NdArray<Float32Array>;
  /** Stops whose fit did not reach its tolerance. */
  unconverged: string[];
  /** Those tested on. */
  sentences: string[];
  /** `[item]` int32. Of each test item, its sentence, as an index into `sentences`. */
  item_sentence: NdArray<Int32Array>;
  /** `[item]` int32. Where the word begins in its sentence, in characters; with `item_end`. */
  item_begin: NdArray<Int32Array>;
  /** `[item]` int32. */
  item_end: NdArray<Int32Array>;
  /** `[item]` int32. The number of the word in its sentence; 0 for a whole text. */
  item_word: NdArray<Int32Array>;
  /** `[item]` float32. The class as an index into `classes`, or the value. */
  labels: NdArray<Float32Array>;
  /** `[stop, item]` float32. */
  predictions: NdArray<Float32Array>;
  left_out: string[];
}

export interface ProbeLadderRequest {
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** What is read off the vectors: number, tense, sentiment, negation or position of made sentences; 'labelled' for your own texts; with a treebank part_of_speech, number, tense, dependency_relation, dependency_depth or feature:NAME. Left out: number, or position for a toy that has no letters for the sentences of the others. */
  task?: string;
  /** How many labelled words (or texts) to draw; 3 in 10 of the sentences are tested on. */
  n?: number;
  /** Of the sample, the split and the controls. */
  seed?: number;
  /** Fit a probe with one hidden layer as well, and its control; this takes longer. */
  mlp?: boolean;
  /** A line each: a label, a tab (or a |), a text; or a CSV with the columns label and text. */
  labelled?: string;
  /** Sentences in CoNLL-U, whose words are labelled. */
  conllu?: string;
}

/** Numbers by layer and word are NaN where the probe is not fitted yet. */
export interface ProbePositions {
  model: ModelCard;
  task: string;
  /** What the label is, in a sentence. */
  about: string;
  site: "mlp_out" | "attn_out" | "resid_post";
  classes: string[];
  n_train: number;
  n_test: number;
  seed: number;
  /** The accuracy on the test sentences of always saying the training's most common label. */
  majority: number;
  /** Fewer different words than this are easily learned by heart: the control task says little there. */
  few_types: number;
  /** Of each place in the sentence, some of the words that stand there, the most common first. */
  words: string[][];
  /** How many different ones do, of those learned from. */
  word_types: number[];
  /** The first place whose word says the label. Before it a model that reads causally cannot know. */
  told_at: number | null;
  /** How many of the layers have their probes. */
  done: number;
  /** `[word]` float32. The accuracy of a dictionary: the most common label of the word that stands there. */
  lookup: NdArray<Float32Array>;
  /** `[layer, word]` float32. Accuracy on the test sentences. */
  score: NdArray<Float32Array>;
  /** `[layer, word]` float32. Of the 95% interval, by drawing sentences again. */
  low: NdArray<Float32Array>;
  /** `[layer, word]` float32. */
  high: NdArray<Float32Array>;
  /** `[layer, word]` float32. The accuracy on the control task: a random label for each word that stands there. */
  control: NdArray<Float32Array>;
  /** `[layer, word]` float32. score - control */
  selectivity: NdArray<Float32Array>;
  /** `[layer, word]` float32. The accuracy of a probe that learned shuffled labels. */
  shuffled: NdArray<Float32Array>;
}

export interface ProbePositionsRequest {
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** Of made sentences: number (of the subject), tense, sentiment or negation. */
  task?: "number" | "tense" | "sentiment" | "negation";
  /** mlp_out: what the MLP adds; attn_out: what attention adds; resid_post: the stream after the block. */
  site?: "mlp_out" | "attn_out" | "resid_post";
  /** How many are made; 3 in 10 are tested on. */
  n?: number;
  /** Of the sample, the split and the controls. */
  seed?: number;
}

/** A place where something is added to the stream. */
export interface StreamStop {
  /** `embed`, `attention.3`, `mlp.3`. */
  name: string;
  kind: "embed" | "attention" | "mlp";
  layer: number | null;
  /** Where an edit changes what is added here: `attn_out.3`. */
  site: string;
}

/** How one token stands among all, if the model stopped at each stop. */
export interface Standing {
  token: Token;
  /** `[stop, position]` float32. */
  probability: NdArray<Float32Array>;
  /** `[stop, position]` int32. 0 is the best: how many tokens have a higher logit. */
  rank: NdArray<Int32Array>;
  /** `[stop, position]` float32. */
  logit: NdArray<Float32Array>;
}

/** What the model's own final norm and head make of the stream after each stop. What is not read yet is NaN, its `best` and ranks -1. */
export interface StreamLens {
  /** Each token named in `best`, once. */
  vocabulary: Token[];
  /** `[stop, position]` int32. The best guess, as an index into `vocabulary`. */
  best: NdArray<Int32Array>;
  /** `[stop, position]` float32. Of the best guess. */
  probability: NdArray<Float32Array>;
  answer: Standing;
  wrong: Standing | null;
}

/** What each stop adds to the logit (or the difference of two) by itself. At every position the shares and the constants add up to it; `error` is what is left over. */
export interface StreamShares {
  /** `logit of ' Mary'`, or `logit difference ' Mary' − ' John'`. */
  what: string;
  /** `[stop, position]` float64. */
  share: NdArray<Float64Array>;
  constants: Constant[];
  /** `[position]` float64. What the model itself said. */
  logit: NdArray<Float64Array>;
  /** `[position]` float64. Sum of the shares and constants, less the logit: rounding. */
  error: NdArray<Float64Array>;
  /** `[position]` float64. What the final norm divides by. */
  scale: NdArray<Float64Array>;
  /** How the final norm is treated, in a sentence, at the position drawn. */
  norm: string;
}

/** The stream of every token at every stop: a row a stop, a column a position. */
export interface Residual {
  model: ModelCard;
  tokens: Token[];
  /** As it was asked; None for the model's own best. */
  answer: string | null;
  wrong: string | null;
  /** Whose stream is drawn first. */
  position: number;
  /** Where the model answers: the last position, or the first mask; None where it answers nothing. */
  answer_position: number | null;
  stops: StreamStop[];
  /** How a layer's parts are put together: the MLP reads what attention added; both read the same stream (the stop between them is then a sum that nothing reads); or the sum is normed after each. */
  combines: "one after the other" | "side by side" | "normed";
  /** `[stop, position]` float32. Length of the stream after the stop. */
  norm: NdArray<Float32Array>;
  /** `[stop, position]` float32. Length of what the stop adds. */
  added: NdArray<Float32Array>;
  /** `[stop, position]` float32. Of what it adds with the stream before it; NaN at the embedding. */
  cosine: NdArray<Float32Array>;
  /** `[stop, position]` float32. Of what it adds with the last stream. */
  cosine_final: NdArray<Float32Array>;
  /** None for a model without a head. */
  lens: StreamLens | null;
  shares: StreamShares | null;
  /** Why the logit is no sum over the stops, where it is not; else empty. */
  why_no_shares: string;
  /** False while the lens is still being read. */
  complete: boolean;
}

export interface ResidualRequest {
  /** The text the model reads. */
  prompt: string;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** One token, its leading space included, that is followed along the stream. Left out, it is the model's own best answer. */
  answer?: string | null;
  /** One token whose logit is taken off the answer's: what is then attributed is the difference of the two. */
  wrong?: string | null;
  /** The token whose stream is drawn, from 0. Left out, it is the last, or the first mask of a masked-language model. */
  position?: number | null;
}

/** What the model answers before and after a stop is edited. */
export interface ResidualEdit {
  model: ModelCard;
  tokens: Token[];
  stop: StreamStop;
  how: "zero" | "mean" | "patch";
  /** Where it is edited; None for all positions. */
  position: number | null;
  /** Where the answer is read. */
  answer_position: number;
  before: Guess[];
  /** The best of both runs and the two answers, in each list, best first. */
  after: Guess[];
  /** `logit of ' Mary'`, or `logit difference ' Mary' − ' John'`. */
  what: string;
  value_before: number;
  value_after: number;
}

export interface ResidualEditRequest {
  /** The text the model reads. */
  prompt: string;
  /** What adds to the stream there: embed, or attention.3, mlp.3 by layer. */
  stop: string;
  /** What stands in place of what the stop adds: nothing, its own mean over the positions of this text, or what it adds in the other text. */
  how: "zero" | "mean" | "patch";
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** The token at which it is replaced, from 0. Left out, all tokens. */
  position?: number | null;
  /** The text to patch from. It must have as many tokens as the text itself. */
  corrupted?: string | null;
  /** One token, its leading space included, that is followed along the stream. Left out, it is the model's own best answer. */
  answer?: string | null;
  /** One token whose logit is taken off the answer's: what is then attributed is the difference of the two. */
  wrong?: string | null;
}

/** Another neuron of the layer, and how their activations go together over the corpus. */
export interface Correlated {
  neuron: NeuronRef;
  correlation: number;
}

/** Whether something is odd about a neuron, by a statistic and its threshold. */
export interface NeuronFlag {
  /** `dead`, `duplicate` or `polysemantic`. */
  name: string;
  raised: boolean;
  value: number;
  threshold: number;
  /** The other one of a duplicate: the one whose correlation `value` is. */
  with_neuron: NeuronRef | null;
}

/** One neuron over a corpus. */
export interface NeuronCorpus {
  layer: number;
  corpus: CorpusEntry;
  /** Tokens that were read and count. */
  tokens: number;
  /** Tokens of the whole corpus. */
  whole: number;
  mean: number;
  /** Standard deviation. */
  spread: number;
  low: number;
  high: number;
  /** Where it goes highest, one place a passage. */
  top: NeuronExample[];
  bottom: NeuronExample[];
  /** Places drawn at random, the same for all units that are read together. */
  drawn: NeuronExample[];
  /** The kinds of tokens with the highest means, of those that came 3 times or more. */
  selective: TokenActivation[];
  /** Those with the lowest. */
  averse: TokenActivation[];
  /** The share of its variance that the kind of token explains (epsilon squared); NaN of none. */
  selectivity: number;
  neuron: number;
  /** `[edge]` float64. */
  edges: NdArray<Float64Array>;
  /** `[bin]` int32. How many tokens have an activation from one edge to the next. */
  counts: NdArray<Int32Array>;
  /** The share of tokens at which what the activation function is given is above 0. */
  open: number;
  /** The polysemantic flag's statistic between places drawn at random. */
  likeness_drawn: number;
  alike: Correlated[];
  flags: NeuronFlag[];
}

export interface NeuronCorpusRequest {
  /** A block of the model, from 0. */
  layer: number;
  /** A neuron of that layer's MLP, from 0. */
  neuron: number;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** built-in, or the name of a text that was kept: text- and 16 digits of its hash. */
  corpus?: string;
  /** About how many tokens to read, in passages evenly spread over a longer corpus. */
  tokens?: number;
}

/** The corpora there are, the built-in one first. */
export interface Corpora {
  corpora: CorpusEntry[];
  /** The name of the text that was given, now kept. */
  added: string | null;
}

export interface CorporaRequest {
  /** A text to keep as a corpus, by its hash, in the data folder; left out, none is kept. */
  text?: string | null;
  /** What to call that text. */
  title?: string;
}

/** One prompt as far as it is written. */
export interface WrittenPrompt {
  /** Of its random beginning; None where it began at the best text of the corpus. */
  seed: number | null;
  /** As the model reads them, with what the tokenizer sets around a text. */
  tokens: Token[];
  /** `[token]` float32. The neuron at each of them. */
  values: NdArray<Float32Array>;
  /** Which of them it was to be excited at: the last of the prompt. */
  at: number;
  /** Read as the same tokens again. */
  text: string;
  /** The activation before the first exchange. */
  start: number;
  /** `[step]` float32. The activation after each step. */
  history: NdArray<Float32Array>;
  /** Nats a token by the model itself; None where it does not say, or not yet. */
  loss: number | null;
}

/** Prompts that were written to excite one neuron, and the best real text to compare them with. */
export interface NeuronPrompt {
  layer: number;
  neuron: number;
  lowest: boolean;
  n: number;
  steps: number;
  fluency: number;
  /** Those that were begun, the one from the corpus first. */
  prompts: WrittenPrompt[];
  /** How many there will be. */
  planned: number;
  complete: boolean;
  /** None where the model cannot read it (`no_corpus`). */
  corpus: CorpusEntry | null;
  no_corpus: string;
  /** The place of the corpus where the neuron goes furthest that way. */
  real: NeuronExample | null;
  /** Nats a token of that whole passage, by the model itself. */
  real_loss: number | null;
  /** Standard deviation over the corpus. */
  spread: number | null;
  /** Which prompt came furthest. */
  best: number | null;
  /** That one beside the real text, in words. */
  compared: string;
}

export interface NeuronPromptRequest {
  /** A block of the model, from 0. */
  layer: number;
  /** A neuron of that layer's MLP, from 0. */
  neuron: number;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** built-in, or the name of a text that was kept: text- and 16 digits of its hash. */
  corpus?: string;
  /** Make the activation low, below 0, instead of high. */
  lowest?: boolean;
  /** How many tokens a prompt has. */
  n?: number;
  /** How many prompts begin at random, each another way. */
  seeds?: number;
  /** Of the first random prompt. */
  seed?: number;
  /** Exchanges of a token, at most one a step. */
  steps?: number;
  /** How much activation the prompt gives up for being a nat a token likelier. 0: nothing. */
  fluency?: number;
}

/** One text that was written on. */
export interface Written {
  kind: "unsteered" | "steered" | "random";
  label: string;
  tokens: Token[];
  /** Without its prompt. */
  text: string;
  /** Words of the first side's lexicon in it, less those of the second's. */
  tally: number;
  /** Different pairs of neighbouring tokens as a share of all; NaN of fewer than two tokens. */
  distinct: number;
}

/** Three texts from one prompt and one seed, and the direction at each layer. */
export interface Steering {
  model: ModelCard;
  /** The prompt's. */
  tokens: Token[];
  contrast: "sea" | "sentiment" | "own";
  /** What the first and the second texts of the contrast are. */
  sides: string[];
  /** How many texts there are of the first side. */
  firsts: number;
  seconds: number;
  paired: boolean;
  /** How the direction was found. */
  origin: string;
  layer: number;
  site: string;
  strength: number;
  /** The median norm of the stream there. */
  typical: number;
  /** The norm of the difference as it was found. */
  length: number;
  /** The strength at which it is added as long as it was found. */
  natural: number;
  n: number;
  seed: number;
  temperature: number;
  /** `[layer]` float32. The natural strength at each layer. */
  naturals: NdArray<Float32Array>;
  /** `[layer]` float32. Mean cosine of one pair's difference with that of the others; NaN where the texts are no pairs. */
  consistency: NdArray<Float32Array>;
  /** Words that count for the first and for the second side. */
  lexicon: string[][];
  written: Written[];
}

export interface SteeringRequest {
  /** The text the model reads. */
  prompt: string;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** sea (from money), sentiment (positive from negative), or own. */
  contrast?: "sea" | "sentiment" | "own";
  /** After which block it is added, from 0; by default the middle one. */
  layer?: number | null;
  /** In typical norms of the stream: 1 adds as much as there is; negative steers away. */
  strength?: number;
  /** How many tokens to write, at the most. */
  n?: number;
  /** Of the random directions and of the draws. */
  seed?: number;
  /** 0 takes the best guess; 1 draws as the model says. */
  temperature?: number;
  /** Of your own contrast: what to steer to, a text a line. With as many lines on the other side the texts are pairs, line by line. */
  firsts?: string;
  /** Of your own contrast: what to steer away from, a text a line. */
  seconds?: string;
}

/** What more and more of a direction does, means over prompts, beside controls as long. */
export interface SteeringDoses {
  labels: string[];
  kinds: ("vector" | "random" | "shuffled")[];
  /** `[strength]` float32. */
  strengths: NdArray<Float32Array>;
  /** `[direction, strength]` float32. log P(next is a word of the first side) - log P(of the second), in nats; NaN without such words. */
  score: NdArray<Float32Array>;
  /** `[direction, strength]` float32. KL(unsteered ‖ steered) of the next token, in nats. */
  divergence: NdArray<Float32Array>;
  /** `[direction, strength]` float32. distinct-2 of the written texts: low where they repeat themselves. */
  distinct: NdArray<Float32Array>;
  /** Whose odds are measured, of each side. */
  words: string[][];
  natural: number;
  layer: number;
  /** Tokens a text. */
  written: number;
  prompts: string[];
  /** How many of the prompts the means are over. */
  done: number;
}

export interface SteeringDosesRequest {
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** sea (from money), sentiment (positive from negative), or own. */
  contrast?: "sea" | "sentiment" | "own";
  /** After which block it is added, from 0; by default the middle one. */
  layer?: number | null;
  /** Of the random directions and of the draws. */
  seed?: number;
  /** Of your own contrast: what to steer to, a text a line. With as many lines on the other side the texts are pairs, line by line. */
  firsts?: string;
  /** Of your own contrast: what to steer away from, a text a line. */
  seconds?: string;
  /** How many of the contrast's prompts to measure. */
  prompts?: number;
}

/** One column of texts against the unsteered ones, over the same prompts. */
export interface Comparison {
  label: string;
  kind: "unsteered" | "vector" | "random" | "shuffled";
  /** Of the score: words of the first side less those of the second. */
  mean: number;
  /** From the unsteered texts; None for those themselves, and before there are two prompts. */
  difference: number | null;
  /** That in standard deviations of the differences (Cohen's d of pairs). */
  size: number | null;
  /** Of a two-sided sign-flip permutation test. */
  p: number | null;
  /** What was written, prompt by prompt. */
  texts: string[];
  scores: number[];
}

/** Whether it holds over prompts: the texts of all, and what their scores say. */
export interface SteeringEffect {
  prompts: string[];
  done: number;
  strength: number;
  layer: number;
  n: number;
  seed: number;
  /** Unsteered, steered, random directions, shuffled contrasts. */
  columns: Comparison[];
  /** Steered less the mean of the controls. */
  beyond: number | null;
  beyond_p: number | null;
}

export interface SteeringEffectRequest {
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** sea (from money), sentiment (positive from negative), or own. */
  contrast?: "sea" | "sentiment" | "own";
  /** After which block it is added, from 0; by default the middle one. */
  layer?: number | null;
  /** In typical norms of the stream: 1 adds as much as there is; negative steers away. */
  strength?: number;
  /** How many tokens to write, at the most. */
  n?: number;
  /** Of the random directions and of the draws. */
  seed?: number;
  /** Of your own contrast: what to steer to, a text a line. With as many lines on the other side the texts are pairs, line by line. */
  firsts?: string;
  /** Of your own contrast: what to steer away from, a text a line. */
  seconds?: string;
  /** How many of the contrast's prompts to measure. */
  prompts?: number;
}

export interface DirectionTextsRequest {
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** sea (from money), sentiment (positive from negative), or own. */
  contrast?: "sea" | "sentiment" | "own";
  /** After which block it is added, from 0; by default the middle one. */
  layer?: number | null;
  /** Of your own contrast: what to steer to, a text a line. With as many lines on the other side the texts are pairs, line by line. */
  firsts?: string;
  /** Of your own contrast: what to steer away from, a text a line. */
  seconds?: string;
  /** built-in, or the name of a text that was kept: text- and 16 digits of its hash. */
  corpus?: string;
}

/** What is said of one row. The first token is left out of all of it where it is left out. */
export interface TokenRow {
  /** The unit's number, or the layer's where the rows are layers. */
  unit: number;
  mean: number;
  /** Its standard deviation over the tokens. */
  deviation: number;
  /** The value furthest from 0. */
  largest: number;
  /** The position where that stands. */
  at: number;
  /** The unit of the layer that goes with it most; None where nothing can be compared. */
  partner: number | null;
  correlation: number;
  /** What |correlation| with any other unit comes to where its values are shuffled over the tokens. */
  chance: number;
  /** dead, duplicate, correlated: each with its number. */
  flags: string[];
}

/** Units, or layers, by the tokens of a text. */
export interface TokenActivations {
  model: ModelCard;
  tokens: Token[];
  rows: "units" | "layers";
  site: "mlp_post" | "mlp_out" | "attn_out" | "result" | "resid_post";
  /** Those that the model has. */
  sites: ("mlp_post" | "mlp_out" | "attn_out" | "result" | "resid_post")[];
  /** Whose units; where the rows are layers, which would be shown. */
  layer: number;
  /** norm, mean, or a unit's number: what is shown of each layer. */
  of: string;
  keep: "variable" | "strongest";
  /** How many units the site has in a layer. */
  width: number;
  /** How many of all of them are the same at every token. */
  dead: number;
  /** `[row, position]` float32. NaN in layers that are not read yet. */
  values: NdArray<Float32Array>;
  /** By row: the most variable, or the strongest, first; layers from the first. */
  units: TokenRow[];
  /** `[row]` uint16. The rows ordered by the token at which each is furthest from its mean. */
  by_peak: NdArray<Uint16Array>;
  /** `[row]` uint16. The rows ordered so that those that go up and down together stand together. */
  by_cluster: NdArray<Uint16Array>;
  /** Whether the first token is left out of what is said of the rows, of their order and of the scale. */
  first_left_out: boolean;
  /** |correlation| from which two units are flagged, if it is beyond chance. */
  close: number;
  shuffles: number;
  /** False while layers are still being read. */
  complete: boolean;
}

export interface TokenActivationsRequest {
  /** The text the model reads. */
  prompt: string;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** units: those of one layer; layers: one thing of every layer. */
  rows?: "units" | "layers";
  /** mlp_post: neurons; result: the length of what each head writes; attn_out, mlp_out: what a layer adds to the stream, by dimension; resid_post: the stream itself. Left out, neurons where there are some, else heads. */
  site?: "mlp_post" | "mlp_out" | "attn_out" | "result" | "resid_post" | null;
  /** Whose units; left out, the middle layer's. */
  layer?: number | null;
  /** Where the rows are layers: the norm of the site, the mean of its units, or one unit's number. */
  of?: string;
  /** Which units are kept: by standard deviation over the tokens, or largest |value|. */
  keep?: "variable" | "strongest";
  /** How many units are kept. */
  most?: number;
}

/** One method's values of the text's tokens, and how far they agree with leaving out. */
export interface Attributed {
  method: "leave_one_out" | "attn_lrp" | "cp_lrp" | "gradient_x_input" | "integrated_gradients" | "attention_rollout" | "value_zeroing";
  title: string;
  /** `[position]` float64. In the unit of what is explained; of rollout and value zeroing, shares of 1. 0 where not yet known. */
  values: NdArray<Float64Array>;
  /** How many positions are known, from the first on: all of them once the method has run. */
  done: number;
  /** False for a method that does not know which answer is asked about; its values are unsigned. */
  of_answer: boolean;
  sum: number;
  /** What the values should add up to; None where the method promises no sum. */
  expected: number | null;
  /** What that is, in a sentence. */
  promise: string;
  /** What must be known to read the line. */
  notes: string[];
  says: string;
  /** What it cannot tell. */
  cannot: string;
  /** The position of the largest value, whatever its sign; None where all are 0 or not all known. */
  top: number | null;
  /** Whether leaving out names the same; None for leaving out itself, where that is not known, and where there is one token to name. */
  same_top: boolean | null;
  /** Whether it has the same sign there; None for unsigned methods and where `same_top` is not true. */
  same_sign: boolean | null;
  /** Rank correlation with leaving out, signs counted, over the tokens that the answer can read. None for unsigned methods, for fewer than three tokens, and where one of the two is constant. */
  spearman: number | null;
  /** The same of absolute values. */
  spearman_sizes: number | null;
}

/** One number of the model's answer, handed out to the text's tokens by several methods. */
export interface TokenAttribution {
  model: ModelCard;
  tokens: Token[];
  /** Where the answer is read. */
  position: number;
  answer: Token;
  /** The token whose logit is taken off; None where there is no difference. */
  wrong: Token | null;
  kind: "logit" | "probability";
  /** The model's best answers there, best first; among them the answer, the wrong one and the best tokens of the text, which are what an answer is most often held against. */
  guesses: Guess[];
  /** What is explained. */
  score: number;
  /** The answer can come from the tokens before this one only; of a bidirectional model, from all. */
  readable: number;
  /** The reference first, then methods that know the answer, then those that do not. */
  rows: Attributed[];
  /** False while methods are still running. */
  complete: boolean;
}

export interface TokenAttributionRequest {
  /** The text the model reads. */
  prompt: string;
  /** A model of the catalogue, a Hugging Face id (with @revision), a folder or a GGUF file. */
  model?: string;
  /** One token, its leading space included. Left out, it is the model's own best guess. */
  answer?: string | null;
  /** The token whose logit is taken off the answer's. Left out, nothing is. */
  wrong?: string | null;
  /** Where the answer is read, a token of the text from 0. Left out, it is the last one, or the mask of a masked-language model. */
  position?: number | null;
  /** What is explained: the logit (with a wrong answer, the difference of two), or the probability of one token. */
  kind?: "logit" | "probability";
  /** Which methods to run. Leaving out costs a run a token, integrated gradients fifty forward and backward passes. */
  methods?: ("leave_one_out" | "attn_lrp" | "cp_lrp" | "gradient_x_input" | "integrated_gradients" | "attention_rollout" | "value_zeroing")[];
}

/** Pictures with where in each of them the unit is strong. */
export interface Excited {
  examples: Examples;
  /** `[example, row, column]` uint8. The unit by place, 255 its largest over all the card's pictures; below 0 is 0. */
  maps: NdArray<Uint8Array>;
}

/** What the unit is joined with most, the strongest first. */
export interface Kernels {
  /** The layer on the other side, or what it is. */
  of: string;
  names: string[];
  /** Their numbers in that layer. */
  units: number[];
  /** `[unit, row, column]` float32. The weights, the batch norm's factor in them; one by one where it is a linear layer. */
  kernels: NdArray<Float32Array>;
  /** `[unit]` float32. Each kernel's length, by which they are sorted; a class's weight itself. */
  lengths: NdArray<Float32Array>;
  /** How many there are. */
  out_of: number;
}

/** Another unit of the layer, and the correlation of the two over the set. */
export interface UnitAlike {
  unit: number;
  correlation: number;
}

/** The net when the unit is held at one value at every place of every picture. */
export interface UnitWithout {
  /** `zero`, or `mean`: its mean over the set. */
  how: string;
  value: number;
  /** On the set; None where no classes are known. */
  accuracy: number | null;
  /** How many pictures get another answer. */
  changed: number;
  /** `[class]` float32. The mean change of each class's logit over the pictures of that class (without a set: over all). */
  by_class: NdArray<Float32Array>;
  /** The answer to the page's picture, and the class that was best with the unit. */
  scores: ClassScore[];
}

/** One unit, a channel of a layer, over a set of pictures and on one of them. */
export interface Unit {
  net: NetCard;
  layer: string;
  unit: number;
  /** How many the layer has. */
  units: number;
  n: number;
  about_set: string;
  /** Whether there is a set; without one there are no statistics. */
  whole: boolean;
  /** `[bin]` int32. */
  counts: NdArray<Int32Array>;
  /** `[edge]` float32. */
  edges: NdArray<Float32Array>;
  mean: number;
  std: number;
  /** The share of pictures for which its mean over places is above 0. */
  firing: number;
  picture: Picture;
  /** Its mean over the places of the page's picture. */
  value: number;
  /** The share of the set that excites it less. */
  below: number;
  /** `[row, column]` float32. The unit at each place of that picture. */
  map: NdArray<Float32Array>;
  /** The net's answer to it. */
  scores: ClassScore[];
  top: Excited;
  drawn: Excited;
  bottom: Excited;
  /** `[class]` float32. Its mean over the pictures of each class; NaN where there are none. */
  by_class: NdArray<Float32Array>;
  favourite: number | null;
  selectivity: number | null;
  in_effect: number | null;
  flags: string[];
  /** The channels it convolves; None where it comes out of no convolution of the layer. */
  reads: Kernels | null;
  /** The units of the next layer that read it, or the classes. */
  writes: Kernels | null;
  alike: UnitAlike[];
  /** Of the whole net on the set. */
  accuracy: number | null;
  /** Zero, then mean. */
  without: UnitWithout[];
  /** The card in a sentence. */
  summary: string;
}

export interface UnitRequest {
  /** shapes-cnn, efficientnet-lite0 ... */
  net?: string;
  /** By its name in the net; empty for one two thirds up. */
  layer?: string;
  /** A channel of the layer, or a class; empty for a telling one. */
  unit?: number | null;
  /** shapes:12 (a set and a number), cat, own:... (a picture you gave), or a file; empty for the network's own first. */
  picture?: string;
  /** How many pictures of the net's set the unit is measured on. */
  n?: number;
}

/** Many networks trained together: one a cell, so far. */
export interface SweepGrid {
  /** The setting that differs from row to row, such as learning_rate; "seed" compares seeds. */
  rows: string;
  row_values: number[];
  /** Empty where only the rows differ. */
  columns: string;
  column_values: number[];
  /** Updates each has made. */
  step: number;
  /** Updates each is to make. */
  steps: number;
  /** `[row, column]` float32. Loss on the training set, NaN where a network diverged. */
  train: NdArray<Float32Array>;
  /** `[row, column]` float32. */
  test: NdArray<Float32Array>;
  /** `[row, column]` float32. */
  train_accuracy: NdArray<Float32Array>;
  /** `[row, column]` float32. */
  test_accuracy: NdArray<Float32Array>;
  /** `[row, column, y, x]` int8. Each network's first output over the ground, as in a frame's maps; empty without a ground. */
  surfaces: NdArray<Int8Array>;
  surface_scale: number;
  /** `[point]` int32. */
  curve_steps: NdArray<Int32Array>;
  /** `[row, column, point]` float32. Training loss of each. */
  curves: NdArray<Float32Array>;
}

/** What the network answers at points of the user's choice. */
export interface Predictions {
  branch: number;
  step: number;
  /** `[point, coordinate]` float64. */
  points: NdArray<Float64Array>;
  /** `[point, output]` float64. */
  outputs: NdArray<Float64Array>;
  /** The class decided for; empty for values. */
  winners: string[];
}

/** What each view answers. */
export interface Answers {
  ablated_answer: AblatedAnswer;
  ablation: Ablation;
  activation_heatmap: ActivationHeatmap;
  activation_map: ActivationMap;
  adversary: Adversary;
  attention: Attention;
  attribution_gallery: AttributionGallery;
  attribution_checks: AttributionChecks;
  attribution_table: AttributionTable;
  direct_attribution: DirectAttribution;
  feature_visualization: FeatureVisualization;
  head: Head;
  head_row: HeadRow;
  head_circuits: HeadCircuits;
  head_texts: CorpusTexts;
  logit_lens: LogitLens;
  network: Recording;
  mlp: Mlp;
  mlp_neurons: NeuronListing;
  neuron: Neuron;
  patching: Patching;
  patched_answer: PatchedAnswer;
  path_patching: Paths;
  prompts: Prompts;
  text_pair: TextPair;
  erased: Erased;
  probe_ladder: ProbeLadder;
  probe_positions: ProbePositions;
  residual: Residual;
  residual_edit: ResidualEdit;
  neuron_corpus: NeuronCorpus;
  corpora: Corpora;
  neuron_prompt: NeuronPrompt;
  steering: Steering;
  steering_doses: SteeringDoses;
  steering_effect: SteeringEffect;
  direction_texts: CorpusTexts;
  token_activations: TokenActivations;
  token_attribution: TokenAttribution;
  unit: Unit;
}

/** What each view is asked. */
export interface Requests {
  ablated_answer: AblatedAnswerRequest;
  ablation: AblationRequest;
  activation_heatmap: ActivationHeatmapRequest;
  activation_map: ActivationMapRequest;
  adversary: AdversaryRequest;
  attention: AttentionRequest;
  attribution_gallery: AttributionGalleryRequest;
  attribution_checks: AttributionChecksRequest;
  attribution_table: AttributionTableRequest;
  direct_attribution: DirectAttributionRequest;
  feature_visualization: FeatureVisualizationRequest;
  head: HeadRequest;
  head_row: HeadRowRequest;
  head_circuits: HeadCircuitsRequest;
  head_texts: HeadTextsRequest;
  logit_lens: LogitLensRequest;
  network: NetworkRequest;
  mlp: MlpRequest;
  mlp_neurons: MlpNeuronsRequest;
  neuron: NeuronRequest;
  patching: PatchingRequest;
  patched_answer: PatchedAnswerRequest;
  path_patching: PathPatchingRequest;
  prompts: PromptsRequest;
  text_pair: TextPairRequest;
  erased: ErasedRequest;
  probe_ladder: ProbeLadderRequest;
  probe_positions: ProbePositionsRequest;
  residual: ResidualRequest;
  residual_edit: ResidualEditRequest;
  neuron_corpus: NeuronCorpusRequest;
  corpora: CorporaRequest;
  neuron_prompt: NeuronPromptRequest;
  steering: SteeringRequest;
  steering_doses: SteeringDosesRequest;
  steering_effect: SteeringEffectRequest;
  direction_texts: DirectionTextsRequest;
  token_activations: TokenActivationsRequest;
  token_attribution: TokenAttributionRequest;
  unit: UnitRequest;
}

/** Every view: its title, the text beside its picture, what a request leaves out, and how an
    address spells each field. */
export const VIEWS = {
  "ablated_answer": {
    "title": "The answer without some parts",
    "about": "The model reads the text with these parts taken out together, and writes on from it, the best guess at each step. Zero holds for the written tokens too; the mean or another text's values hold at the text's own tokens.\n\nWhat this cannot tell you: which of the parts did it; take fewer out to see.",
    "defaults": {
      "model": "smollm2-135m",
      "answer": null,
      "wrong": null,
      "position": null,
      "instead": "zero",
      "metric": "logit_difference",
      "source": "written",
      "texts": [],
      "seed": 0
    },
    "fields": {
      "prompt": "text",
      "out": "json",
      "model": "text",
      "answer": "text",
      "wrong": "text",
      "position": "number",
      "instead": "text",
      "metric": "text",
      "source": "text",
      "texts": "json",
      "seed": "number"
    }
  },
  "ablation": {
    "title": "Ablation",
    "about": "What the answer is without a part. Each cell takes one part out of the model while it reads the text, and shows the change: effect = measure without it − measure as it is. What stands in the part's place decides the result: zero puts it where it never was in training, the mean keeps what it writes in any text, a resampled text keeps it within what it really does. Say which it was.\n\nThe curve takes out more and more, those that were missed most first, beside the same parts in orders drawn at random: the ranking says something where its curve leaves theirs. Below it, the loss on the text when a layer is left out or exchanged with its neighbour (Lad et al. 2024).\n\nWhat this cannot tell you: that a part without effect does nothing. Others may make up for it when it is gone (McGrath et al. 2023), and a part whose absence hurts may only have been needed for others to work as they do.",
    "defaults": {
      "model": "smollm2-135m",
      "answer": null,
      "wrong": null,
      "position": null,
      "parts": "head",
      "instead": "zero",
      "metric": "logit_difference",
      "layer": null,
      "source": "written",
      "texts": [],
      "seed": 0
    },
    "fields": {
      "prompt": "text",
      "model": "text",
      "answer": "text",
      "wrong": "text",
      "position": "number",
      "parts": "text",
      "instead": "text",
      "metric": "text",
      "layer": "number",
      "source": "text",
      "texts": "json",
      "seed": "number"
    }
  },
  "activation_heatmap": {
    "title": "Units by pictures",
    "about": "A row is a unit of the layer, a column a picture, a cell the unit's mean over its places. By class, pictures stand with their class and units with the class they answer to most; by cluster, rows and columns that go up and down together stand together (average linkage of 1 − correlation, leaves ordered so that neighbours are alike).\n\nFlags, each with its number. Dead: the same for every picture. Doubled: another unit goes with it, at a correlation of at least 0.95. Mixed: what excites it most is of at least two classes, in effect (exp of the entropy of the classes of the top twentieth).\n\nWhat this cannot tell you: what a unit looks for. A class is a coarse test: a unit for round things is mixed by it and knows one thing. The mean over places cannot tell a strong answer in one place from a weak one everywhere, and a unit that is dead here may wake for other pictures.",
    "defaults": {
      "net": "shapes-cnn",
      "layer": "",
      "n": 120,
      "order": "class"
    },
    "fields": {
      "net": "text",
      "layer": "text",
      "n": "number",
      "order": "text"
    }
  },
  "activation_map": {
    "title": "Layers, over a set of pictures",
    "about": "Each point is a picture, where its units put it: each channel's mean over its places, standardized, drawn along the two directions in which the pictures differ most (PCA), or by UMAP, which puts neighbours near each other and says nothing by what is far.\n\nSilhouette: (b − a) / max(a, b), a being the mean distance to its own class, b to the nearest other. Clusters agree: k-means against the classes, adjusted Rand index. Linear probe: accuracy on pictures held back. CKA (Kornblith et al. 2019), unbiased: 1 for layers that are the same up to a rotation.\n\nWill it be wrong? On pictures with noise, a probe of each layer is asked; the baseline is the answer's own doubt, 1 less its largest probability (Hendrycks and Gimpel 2017), and a probe of shuffled labels shows chance.\n\nWhat this cannot tell you: what the network uses. That a class can be read from a layer does not mean that the next one reads it. The plane shows two directions of many: what overlaps in it may stand apart. The mean over places hides where a unit answers.",
    "defaults": {
      "net": "shapes-cnn",
      "n": 200,
      "drawing": "pca",
      "other": "",
      "seed": 0
    },
    "fields": {
      "net": "text",
      "n": "number",
      "drawing": "text",
      "other": "text",
      "seed": "number"
    }
  },
  "adversary": {
    "title": "Misled, seen from inside",
    "about": "A picture within ±ε of the clean one, a pixel, that the network gets wrong if it can be made to. FGSM takes one step x + ε sign(∇ loss) (Goodfellow et al. 2015); PGD takes many small ones from a random place nearby, each time back into the range (Madry et al. 2018).\n\nWhere it leaves the way: |a' − a| / |a| at each layer, of the misleading picture and of noise of the same size (every pixel ±ε by chance), over a set of pictures.\n\nWhat tells it without the clean one: strangeness, the mean distance to the five nearest of known clean pictures, in units standardized on them. Its AUROC is the chance that a misleading picture is stranger than a clean one. The baseline is the answer's own doubt, 1 less its largest probability.\n\nWhat this cannot tell you: that an attack can be told in general. One that knows of the detector can be made to pass it, other attacks may leave the way elsewhere, and the AUROC is over pictures of one set. It does not say which units are at fault either.",
    "defaults": {
      "net": "shapes-cnn",
      "picture": "",
      "attack": "pgd",
      "epsilon": 4,
      "steps": 10,
      "n": 100,
      "seed": 0
    },
    "fields": {
      "net": "text",
      "picture": "text",
      "attack": "text",
      "epsilon": "number",
      "steps": "number",
      "n": "number",
      "seed": "number"
    }
  },
  "attention": {
    "title": "Attention heads",
    "about": "Who looks at whom. Each small square is one head's pattern on this text: row i, column j is the weight with which position i reads from position j: the softmax over j of q[i] · k[j] / √d. A row sums to 1. The heads can be sorted by how much they behave like known kinds: previous token, induction, duplicate token, first-token sink, and entropy in nats.\n\nAblating a head replaces its output z by zero, or by its own mean over the positions of this text, and runs the model again: the answer then shows what this head did for it here.\n\nWith a second text of as many tokens, the difference of the two patterns: a − a', and how much of a query's weight goes elsewhere, ½ Σ |a − a'| over keys, on the mean over queries.\n\nWhat this cannot tell you: a weight says where a head reads, not what it reads, nor whether it matters. A head may look at a token and copy nothing of it, and after an ablation later heads may take over. A score is measured on this text alone; one that rests on few queries is noise. A head can look at the same places in two texts and carry different things.",
    "defaults": {
      "model": "smollm2-135m",
      "ablate": [],
      "ablation": "zero",
      "corrupted": null
    },
    "fields": {
      "prompt": "text",
      "model": "text",
      "ablate": "json",
      "ablation": "text",
      "corrupted": "text"
    }
  },
  "attribution_gallery": {
    "title": "Attribution gallery",
    "about": "Which places of the picture have to do with the answer? Each map is another method's reply about the same score, the logit of a class or the difference of two. Blue speaks for it, orange and hatched against it. Slopes say what the score does when a pixel changes a little, ∂score/∂x; shares split the score up, for example x · ∂score/∂x; covering takes a window away; class activation maps weigh a layer's channels, Σ_c w_c A_c; relevance carries the score back from layer to layer.\n\nWhere a method promises that its values add up, the sum stands beside what it should be; of relevance, biases take a part. On drawn pictures the true figure is known: mass is its share of all that is positive, and a hit means that the strongest place lies on it.\n\nWhat this cannot tell you: why the network answers as it does. The methods differ, and none is the truth: a map may be pretty and about the picture alone. Randomized weights, deletion and insertion (open a map) test that. A map of a layer is coarse: its cells reach over much of the picture. Against grey, grey pixels never count.",
    "defaults": {
      "net": "shapes-cnn",
      "picture": "",
      "target": null,
      "contrast": null,
      "methods": [],
      "layer": null,
      "seed": 0
    },
    "fields": {
      "net": "text",
      "picture": "text",
      "target": "number",
      "contrast": "number",
      "methods": "json",
      "layer": "text",
      "seed": "number"
    }
  },
  "attribution_checks": {
    "title": "A map, checked",
    "about": "Is the map about what the network has learned? Its weights are randomized layer by layer, from the last down (Adebayo et al. 2018): a map that stays as it was is about the picture alone. Does what it marks matter? Pixels are covered, the strongest first, and the answer should fall at once (deletion); or they alone are shown, and it should rise at once (insertion; Petsiuk et al. 2018), faster than in a random order.\n\nWhat this cannot tell you: that a map which passes is right. A half-covered picture is like none the network was trained on, and its answer there may mean little; the curves compare orders on one network and one cover, nothing else. One draw of random weights is one draw.",
    "defaults": {
      "net": "shapes-cnn",
      "picture": "",
      "target": null,
      "contrast": null,
      "method": "saliency",
      "layer": null,
      "seed": 0
    },
    "fields": {
      "net": "text",
      "picture": "text",
      "target": "number",
      "contrast": "number",
      "method": "text",
      "layer": "text",
      "seed": "number"
    }
  },
  "attribution_table": {
    "title": "Which method is right",
    "about": "All methods on drawn pictures, whose figure is known pixel by pixel; the logit of the true class is explained. Pointing: how often the strongest place lies on the figure or next to it (Zhang et al. 2018). Mass: the figure's share of all that is positive (Arras et al. 2022). Deletion and insertion: areas under the class's probability as the strongest pixels are covered, or alone are shown (Petsiuk et al. 2018). Random weights: the rank correlation of the map with that of a network which has learned nothing (Adebayo et al. 2018), and of the values' sizes. A network that was trained with a mark in the picture goes by the mark; there a method that is right points at the mark and not at the figure.\n\nWhat this cannot tell you: which method is right on other networks or photographs. That the figure is what the network uses is itself a supposition; an outline or the ground beside it may be enough for it. Each measure can be had cheaply: a blob on the figure points well, edges have mass there.",
    "defaults": {
      "net": "shapes-cnn",
      "pictures": "",
      "n": 40,
      "methods": [],
      "layer": null,
      "seed": 0
    },
    "fields": {
      "net": "text",
      "pictures": "text",
      "n": "number",
      "methods": "json",
      "layer": "text",
      "seed": "number"
    }
  },
  "direct_attribution": {
    "title": "Direct attribution",
    "about": "What each part writes into the answer by itself. The last stream is a sum, x = embed + attention.0 + mlp.0 + attention.1 + ..., and a logit reads it through the final norm and a row w of the unembedding. With the norm's divisor s held at this run's value that reading is linear, so a part that writes y has the share r · y, with r = (norm weight * w) / s, and all shares add up to the logit (Elhage et al. 2021). With a wrong answer, w is the difference of two rows.\n\nThe bars begin at 0 and end at the logit, in the order of the stream or the largest first. Open a layer to see its heads and its MLP, a head to see from which tokens it moved what, an MLP to see its neurons.\n\nWhat this cannot tell you: what a part does by way of later parts. A head that only makes a later head write the answer has no share here. Nor is a share what the answer loses without the part: then the divisor s and everything later would be another. Ablate it to see.",
    "defaults": {
      "model": "smollm2-135m",
      "answer": null,
      "wrong": null,
      "position": null,
      "by": "layer"
    },
    "fields": {
      "prompt": "text",
      "model": "text",
      "answer": "text",
      "wrong": "text",
      "position": "number",
      "by": "text"
    }
  },
  "feature_visualization": {
    "title": "Feature visualization",
    "about": "A picture x is changed, from grey noise on, so that a unit answers more and more: x ← x + η ∂a(x)/∂x, with Adam's steps. a is a channel's mean over places, one neuron of it, a class's logit, a direction a · v, or two channels' sum. The ascent is made in waves whose strength falls with their frequency and in decorrelated colours, and each step turns, zooms and shifts the picture a little (Olah et al. 2017). Several seeds begin at different noises. Beside them stand the real pictures of the net's set that a is highest for, and some drawn at random.\n\nWhat this cannot tell you: all that excites the unit; each picture is one maximum of many. Nor that the unit does so for what you see in it. People see much in noise, and a made picture is often stronger than any real one because it is like none. Compare it with the real ones, then ablate the unit.",
    "defaults": {
      "net": "shapes-cnn",
      "kind": "channel",
      "layer": "",
      "unit": null,
      "other": null,
      "picture": "",
      "seeds": null,
      "steps": null,
      "diversity": 0.0,
      "waves": true,
      "robust": true,
      "seed": 0
    },
    "fields": {
      "net": "text",
      "kind": "text",
      "layer": "text",
      "unit": "number",
      "other": "number",
      "picture": "text",
      "seeds": "number",
      "steps": "number",
      "diversity": "number",
      "waves": "flag",
      "robust": "flag",
      "seed": "number"
    }
  },
  "head": {
    "title": "One attention head",
    "about": "Who looks at whom in this head. Row i, column j is the weight with which position i reads from position j: the softmax over j of q[i] · k[j] / √d. A row sums to 1. In a causal model a position sees itself and those before it. Weights are shown to about three digits (half precision); inspecting a row gives them exactly, with the scores before the softmax.\n\nThe picture can show instead the raw scores, or the weight times |v[j] W_O|, the length of what is moved from j to i (Kobayashi et al. 2020): a head that rests looks at a token with a short value.\n\nWhat this cannot tell you: what is read, and whether it matters. The head moves v W_O of what it looks at, which may be nothing; a long vector may point where nothing reads, and two may cancel. A raw score means something only beside the others of its row. Ablate the head to see what changes.",
    "defaults": {
      "model": "smollm2-135m",
      "ablate": [],
      "ablation": "zero",
      "with_scores": false
    },
    "fields": {
      "prompt": "text",
      "layer": "number",
      "head": "number",
      "model": "text",
      "ablate": "json",
      "ablation": "text",
      "with_scores": "flag"
    }
  },
  "head_row": {
    "title": "One row of an attention head",
    "about": "What one position looks at, exactly as computed in float32: the scores s_j = q_i · k_j / √d_head, the weights a_j = exp(s_j) / Σ exp(s_j), and the lengths a_j |v_j W_O| of what is moved from each, for the keys j that the position can see.\n\nWhat this cannot tell you: a score means something only beside the others of its row, and a length does not say where the vector points.",
    "defaults": {
      "model": "smollm2-135m",
      "ablate": [],
      "ablation": "zero"
    },
    "fields": {
      "prompt": "text",
      "layer": "number",
      "head": "number",
      "query": "number",
      "model": "text",
      "ablate": "json",
      "ablation": "text"
    }
  },
  "head_circuits": {
    "title": "What a head writes, copies and looks for",
    "about": "Writes: the sum over keys j of a[j] v[j] W_O at one position, read through the final norm, at this run's scale, and the unembedding: the head's own share of every token's logit, and of the answer's by the token it came from. These shares add up to the head's direct attribution.\n\nCopies (OV): W_U g · (ln(x) W_V W_O) for a token x by itself: which tokens rise where the head looks at x. The copying score is the fraction of a drawn sample whose own logit is among the top k; the suppression score, among the lowest k. Looks for (QK): ln(x) W_Q · ln(y) W_K / √d for the query token x and keys y by themselves (Elhage et al. 2021). x is the token's embedding, or that with what the first MLP adds to it.\n\nWhat this cannot tell you: what later layers make of the writing, which may be more than the direct share. Copies and looks for leave out positions, rotation and all that earlier layers moved into the stream; a head high up reads mostly that, so compare with the run's own scores.",
    "defaults": {
      "model": "smollm2-135m",
      "position": null,
      "answer": null,
      "wrong": null,
      "reads": "first_mlp",
      "ablate": [],
      "ablation": "zero"
    },
    "fields": {
      "prompt": "text",
      "layer": "number",
      "head": "number",
      "model": "text",
      "position": "number",
      "answer": "text",
      "wrong": "text",
      "reads": "text",
      "ablate": "json",
      "ablation": "text"
    }
  },
  "head_texts": {
    "title": "The texts that excite a head",
    "about": "A head has no single activation, so it is asked in one of three ways at each token q of a corpus: attends, the largest weight A[q, k] on a token k that is neither the first nor q itself; off_first, 1 - A[q, 0], all the weight that does not rest on the first token; writes, |z_q W_O|, the length of what it adds to the stream. All heads of the layer are read in one pass. Beside each place stands the token k that it attends to most from there, the first and itself aside.\n\nWhat this cannot tell you: what the head is for. It may look somewhere and write little, or write much that nothing reads; attention is not explanation. The highest places are a few in thousands, which is why random ones stand beside them; another corpus may show another side.",
    "defaults": {
      "model": "smollm2-135m",
      "by": "attends",
      "corpus": "built-in"
    },
    "fields": {
      "layer": "number",
      "head": "number",
      "model": "text",
      "by": "text",
      "corpus": "text"
    }
  },
  "logit_lens": {
    "title": "Logit lens",
    "about": "What the model would answer if it stopped early. At each stop on the residual stream x, the stream is read as if it were the last: p = softmax(W_U · norm(x)), with the model's own final norm and unembedding (nostalgebraist 2020). Each cell is the best guess there; the last row is the model's real output, and the picture says by how much the two differ.\n\nWhat this cannot tell you: a layer's stream is written for the layers after it, not for the unembedding, so an early row may be nonsense though the answer is already there in another basis. That a guess appears at a layer does not say that this layer computed it.",
    "defaults": {
      "model": "smollm2-135m",
      "chosen": null
    },
    "fields": {
      "prompt": "text",
      "model": "text",
      "chosen": "text"
    }
  },
  "network": {
    "title": "The network visualizer",
    "about": "A dense network while it learns. Each unit takes z = Σ w a + b of the layer before it and answers f(z); the loss L says what the last layer's answers cost; backwards, dL/dw = Σ dL/dz · a over the batch, and the optimizer turns it into a new w. The ground behind the points is what the network would answer there, each unit's small picture what that unit answers. Weights, activations and gradients are the run's own 64-bit numbers (the ground's are rounded), and the equations beside the picture evaluate to what they say.\n\nWhat this cannot tell you: what a network of millions of weights does. Here a unit's picture can be read because it depends on two inputs; that a unit looks like one feature does not mean that the network uses it as one, and a low loss on these points says nothing of points elsewhere.",
    "defaults": {
      "config": {
        "layers": [
          2,
          4,
          1
        ],
        "activations": [
          "tanh",
          "sigmoid"
        ],
        "loss": "binary_cross_entropy",
        "init": "xavier",
        "init_scale": 0.5,
        "bias_init": 0.0,
        "optimizer": "sgd",
        "learning_rate": 0.3,
        "momentum": 0.9,
        "decay": 0.99,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-08,
        "weight_decay": 0.01,
        "schedule": "constant",
        "schedule_every": 1000,
        "schedule_factor": 0.5,
        "warmup": 0,
        "batch_size": 4,
        "l1": 0.0,
        "l2": 0.0,
        "penalize_bias": false,
        "confidence_penalty": 0.0,
        "huber_delta": 1.0,
        "leaky_slope": 0.01,
        "clip": null,
        "seed": 0
      },
      "data": {
        "name": "xor_points",
        "n": 200,
        "noise": 0.0,
        "classes": 3,
        "test": 0.0,
        "features": [
          "x",
          "y"
        ],
        "seed": 0,
        "csv": "",
        "target": "",
        "painted": []
      },
      "steps": 1000,
      "frames": 40,
      "sample": 0,
      "place": null
    },
    "fields": {
      "config": "json",
      "data": "json",
      "steps": "number",
      "frames": "number",
      "sample": "number",
      "place": "text"
    }
  },
  "mlp": {
    "title": "MLP neurons",
    "about": "What the MLPs do with this text. Each row of the grid is a layer, each column a token: how long what the MLP adds is, beside the stream it is added to, |mlp_out| / |stream|. Under it are the neurons that matter, each with its activation a(i) along the text; the MLP's output is the sum over its neurons of a · w_out, and a bias.\n\nA neuron's direct share of the answer's logit is a · (w_out · r), with r the unembedding row of the answer read back through the final norm, whose divisor is held at this run's value. The shares of all neurons, heads, embeddings and biases add up to the logit.\n\nWhat this cannot tell you: a share is the direct path only. A neuron that later layers read may have no share and matter, and one with a share may be made up for by others when it is gone: open it and ablate it. Activations of different layers are not on one scale.",
    "defaults": {
      "model": "smollm2-135m",
      "answer": null,
      "wrong": null,
      "sort": "share",
      "layer": null,
      "position": null
    },
    "fields": {
      "prompt": "text",
      "model": "text",
      "answer": "text",
      "wrong": "text",
      "sort": "text",
      "layer": "number",
      "position": "number"
    }
  },
  "mlp_neurons": {
    "title": "The neurons that come first",
    "about": "The neurons of one layer or of all, by their direct share of the answer's logit, a · (w_out · r), by the size of what they write, |a| · |w_out|, by |a| itself, or by (a - mean) / standard deviation over a corpus, where the activation a is the largest on the text or that at one position.\n\nWhat this cannot tell you: that a neuron comes first does not say that it matters; ablate it.",
    "defaults": {
      "model": "smollm2-135m",
      "answer": null,
      "wrong": null,
      "sort": "share",
      "layer": null,
      "position": null
    },
    "fields": {
      "prompt": "text",
      "model": "text",
      "answer": "text",
      "wrong": "text",
      "sort": "text",
      "layer": "number",
      "position": "number"
    }
  },
  "neuron": {
    "title": "A neuron",
    "about": "One neuron of an MLP. Its activation at a token is a = f(w_in · x), or in a gated MLP a = f(w_gate · x) · (w_in · x), with x the normed stream there; it writes a · w_out. What it reads is said by the tokens whose embeddings E[t], times the norm's weight g, its input rows like most and least, (g · w_in) · E[t]; what it writes by W_U[t] · (g_final · w_out). The norms' divisors, which differ from token to token, are left out.\n\nWithout it: its activation is held at 0, or at its mean over this text, at every token, and the layers above are run again.\n\nWhat this cannot tell you: above the first layers the stream is not the embedding, so what the input rows say of it is a hint. A neuron is seldom a unit of meaning: most take part in several things, and most things take several neurons.",
    "defaults": {
      "model": "smollm2-135m",
      "answer": null,
      "wrong": null
    },
    "fields": {
      "prompt": "text",
      "layer": "number",
      "neuron": "number",
      "model": "text",
      "answer": "text",
      "wrong": "text"
    }
  },
  "patching": {
    "title": "Activation patching",
    "about": "Two texts of equally many tokens that differ in one thing, and have different answers. Each cell is a run of its own: one value of the one run, at one place, is put into the other run, all that comes after is computed anew, and the answer is read. A cell says how far the answer went: (patched − corrupted) / (clean − corrupted), 0 as in the corrupted run, 1 as in the clean one.\n\nDenoising puts clean values into the corrupted run, and shows what suffices to restore the answer; noising puts corrupted values into the clean run, and shows what the answer needs (Heimersheim and Nanda 2024). The two differ wherever parts stand in for each other.\n\nWhat this cannot tell you: how a value is used later, nor that a place without effect holds nothing, for another place may hold the same. A patch makes a run that no text makes. And all of it is about this pair of texts and this metric: take several pairs before you believe in a part of the model.",
    "defaults": {
      "model": "smollm2-135m",
      "corrupted": null,
      "answer": null,
      "wrong": null,
      "kind": "resid_pre",
      "by": null,
      "direction": "denoising",
      "metric": "logit_difference",
      "at": null,
      "only": null
    },
    "fields": {
      "prompt": "text",
      "model": "text",
      "corrupted": "text",
      "answer": "text",
      "wrong": "text",
      "kind": "text",
      "by": "text",
      "direction": "text",
      "metric": "text",
      "at": "number",
      "only": "number"
    }
  },
  "patched_answer": {
    "title": "What the patched model says",
    "about": "One patch in full: the answer of the clean, the corrupted and the patched run, and how each of them goes on when it takes its best guess again and again. The patch is made at its place in the prompt, and holds while the model writes; what is written is not patched.\n\nWhat this cannot tell you: whether another patch would have led to the same words. A continuation follows from its first token more than from the patch.",
    "defaults": {
      "model": "smollm2-135m",
      "corrupted": null,
      "answer": null,
      "wrong": null,
      "kind": "resid_pre",
      "unit": null,
      "where": null,
      "direction": "denoising",
      "metric": "logit_difference",
      "at": null,
      "length": 12
    },
    "fields": {
      "prompt": "text",
      "layer": "number",
      "model": "text",
      "corrupted": "text",
      "answer": "text",
      "wrong": "text",
      "kind": "text",
      "unit": "number",
      "where": "number",
      "direction": "text",
      "metric": "text",
      "at": "number",
      "length": "number"
    }
  },
  "path_patching": {
    "title": "Path patching",
    "about": "What a head or MLP says to one receiver, and nothing else of what it does. The sender is given the value that it has in the other text; of that, only what it writes straight into the receiver's input is let through: all other heads, and the MLPs between, keep the values of the run that is patched. Then all after the receivers is computed anew, and the answer read (Wang et al. 2022; Goldowsky-Dill et al. 2023). Each cell is one sender: the change of the metric, as a share of clean − corrupted.\n\nReceivers are the logits, or the queries, keys or values of heads. Where heads share keys and values, so do the receivers. Noising, the papers' direction, shows what the answer needs of each path.\n\nWhat this cannot tell you: what comes by two steps. For that, take what was found here as the next receiver. The receiver's own norm is not frozen, so a share need not be linear in what is sent.",
    "defaults": {
      "model": "smollm2-135m",
      "corrupted": null,
      "answer": null,
      "wrong": null,
      "receivers": "logits",
      "direction": "noising",
      "mlps": "frozen",
      "metric": "logit_difference",
      "at": null
    },
    "fields": {
      "prompt": "text",
      "model": "text",
      "corrupted": "text",
      "answer": "text",
      "wrong": "text",
      "receivers": "text",
      "direction": "text",
      "mlps": "text",
      "metric": "text",
      "at": "number"
    }
  },
  "prompts": {
    "title": "Prompt families",
    "about": "Pairs of texts that differ in one thing, drawn by seed for this model's tokenizer: equally many tokens, answers of one token each. Every row opens in patching. Beside each stands what the model makes of it: logit(right) − logit(wrong), after the clean and after the corrupted text.\n\nWhat this cannot tell you: how the model does on other wordings. A family is a few templates, and a model may have the form without the matter; the source says what the family was made for.",
    "defaults": {
      "family": null,
      "model": "smollm2-135m",
      "n": 12,
      "seed": 0,
      "options": {}
    },
    "fields": {
      "family": "text",
      "model": "text",
      "n": "number",
      "seed": "number",
      "options": "json"
    }
  },
  "text_pair": {
    "title": "Two texts, token over token",
    "about": "Whether two texts align: as many tokens, with the same part of the sentence at the same position. Where the second is left out and the form of the first says what to change (two names of which one comes again, a fact of the list, a text that repeats itself), one is proposed with its answers.\n\nWhat this cannot tell you: whether the two differ in one thing only for the model, too. That two texts have as many tokens does not say that the tokens correspond.",
    "defaults": {
      "model": "smollm2-135m",
      "corrupted": null,
      "answer": null,
      "wrong": null
    },
    "fields": {
      "prompt": "text",
      "model": "text",
      "corrupted": "text",
      "answer": "text",
      "wrong": "text"
    }
  },
  "erased": {
    "title": "A property erased",
    "about": "LEACE (Belrose et al. 2023), r(x) = x - W⁺ P W (x - E x), W whitening and P the projection onto what tells the classes apart there: no linear probe then beats the most common label, and x changes least. Beside it, random subspaces of the same rank, drawn where the vectors are white.\n\nWhat this cannot tell you: that the model uses the property nowhere, if nothing changes. Later layers may read it off other words, or hold it in another form. From fewer vectors than several times the stream's width the eraser follows chance, and other vectors keep some of the property.",
    "defaults": {
      "model": "smollm2-135m",
      "task": "",
      "n": 400,
      "seed": 0,
      "labelled": "",
      "conllu": ""
    },
    "fields": {
      "stop": "text",
      "model": "text",
      "task": "text",
      "n": "number",
      "seed": "number",
      "labelled": "text",
      "conllu": "text"
    }
  },
  "probe_ladder": {
    "title": "Probe ladder",
    "about": "Is a property of the text written in the stream, and from which layer on? At each stop a linear probe, p(label | x) = softmax(W x + b), learns from some sentences to read the label off the vector x of one word, and is tested on others. Beside its accuracy stand the most common label, a dictionary of the words, a probe of shuffled labels (chance), and the control task: the same probe on random labels of word types (Hewitt and Liang 2019); score less control is its selectivity. The second ladder is the online code (Voita and Titov 2020): bits to send a training label with the probe's help, fewer where it is easier to read. Of values (depth) the probe is ridge regression, and the score R2.\n\nWhat this cannot tell you: whether the model uses what a probe reads. It may be a leftover, or follow from the words themselves. Erase it and see whether the answers change. A low score says that it is not there linearly, and not that it is not there. Made sentences are few forms; a treebank has many.",
    "defaults": {
      "model": "smollm2-135m",
      "task": "",
      "n": 400,
      "seed": 0,
      "mlp": false,
      "labelled": "",
      "conllu": ""
    },
    "fields": {
      "model": "text",
      "task": "text",
      "n": "number",
      "seed": "number",
      "mlp": "flag",
      "labelled": "text",
      "conllu": "text"
    }
  },
  "probe_positions": {
    "title": "Probes by layer and word",
    "about": "At which word, and from which layer on, can a property be read? The sentences are made, all of one length: \"The keys near the cabinet\". At each layer and word a linear probe, p(label | x) = softmax(W x + b) with a penalty of ½λ|W|², λ = 30, learns from seven tenths of the sentences and is tested on the others, whose key words it has not seen. Beside its accuracy stand the most common label alone, a probe that learned shuffled labels (chance), and the control task, a random label for each word that stands there (Hewitt and Liang 2019): accuracy less control is its selectivity.\n\nWhat this cannot tell you: whether the model uses what a probe reads there. The control task says little where few different words stand: they are learned by heart, and selectivity is low however well the property is read. A low accuracy says that it is not there linearly for so few sentences, and not that it is not there. Differences within the interval are chance: over so many cells, a few will look like something.",
    "defaults": {
      "model": "smollm2-135m",
      "task": "number",
      "site": "mlp_out",
      "n": 240,
      "seed": 0
    },
    "fields": {
      "model": "text",
      "task": "text",
      "site": "text",
      "n": "number",
      "seed": "number"
    }
  },
  "residual": {
    "title": "Residual stream",
    "about": "Each token has a stream x, a vector that starts as the token's embedding; every attention and every MLP reads it and adds to it: x_after = x_before + added. The line of stations is one token's stream. Under each station stands the lens: the best guess if the model stopped there, softmax(W_U · norm(x)).\n\nAbove it, what each station adds to the logit of the answer by itself (or to the difference of two logits): added · (g * w) / s, with w the answer's row of the unembedding, g the final norm's gain and s what that norm divides by in this run. These shares, and the biases at the end, add up to the logit exactly; what is left over is rounding and is stated.\n\nWhat this cannot tell you: a share is what a station writes towards the answer directly. What it does through later layers that read it is not in it, and is often more: ablate or patch the station to see. A lens reads an early stream in the last layer's terms, which it was not written for.",
    "defaults": {
      "model": "smollm2-135m",
      "answer": null,
      "wrong": null,
      "position": null
    },
    "fields": {
      "prompt": "text",
      "model": "text",
      "answer": "text",
      "wrong": "text",
      "position": "number"
    }
  },
  "residual_edit": {
    "title": "The answer without a station",
    "about": "The model reads the text again with what one attention, MLP or the embedding adds to the stream replaced, at one token or at all: by zero, by its mean over the positions of this text, or by what the same station adds in another text of as many tokens. All that comes after is computed anew.\n\nWhat this cannot tell you: zero is a value that the model never met, and one station's mean still says what it usually does. Stations after it may take over its work, so a small change does not say that it does nothing.",
    "defaults": {
      "model": "smollm2-135m",
      "position": null,
      "corrupted": null,
      "answer": null,
      "wrong": null
    },
    "fields": {
      "prompt": "text",
      "stop": "text",
      "how": "text",
      "model": "text",
      "position": "number",
      "corrupted": "text",
      "answer": "text",
      "wrong": "text"
    }
  },
  "neuron_corpus": {
    "title": "A neuron over a corpus",
    "about": "What one neuron does over many texts: how often each activation comes, the passages in which it goes highest and lowest, passages drawn at random beside them, and its mean at each kind of token. The selectivity is the share of its variance that the kind of token explains, epsilon² = 1 - (within / (n - kinds)) / (total / (n - 1)). All neurons of the layer are read in one pass, and kept.\n\nFlags: dead, if |a| is never above 0.01 of the layer's root mean square; duplicate, if its correlation with another neuron of the layer is 0.95 or more, either way; polysemantic, if the inputs at its highest places have a mean cosine below 0.1, the layer's mean input taken off.\n\nWhat this cannot tell you: what the neuron is for. Its highest places are a few in thousands, and say little of what it does at the others, which is why random ones stand beside them; another corpus may show another side. The thresholds are conventions.",
    "defaults": {
      "model": "smollm2-135m",
      "corpus": "built-in",
      "tokens": 8192
    },
    "fields": {
      "layer": "number",
      "neuron": "number",
      "model": "text",
      "corpus": "text",
      "tokens": "number"
    }
  },
  "corpora": {
    "title": "Corpora",
    "about": "The texts that neurons can be read over: the built-in sentences, and those that were given, which are kept on this machine under a name made of their hash.\n\nWhat this cannot tell you: what a corpus is a sample of. A neuron that is silent on one may be loud on another.",
    "defaults": {
      "text": null,
      "title": "your text"
    },
    "fields": {
      "text": "text",
      "title": "text"
    }
  },
  "neuron_prompt": {
    "title": "A prompt that excites a neuron",
    "about": "Each step exchanges one token of the prompt, for what raises the activation a at its last token (greedy coordinate gradient, Zou et al. 2023). For every token t and position i, (E[t] - x_i) · ∂a/∂x_i says to first order what the exchange would do, with E the embedding and x_i what stands there now; of the 64 most promising of each position some are run, and the best is kept if a rises. With a weight w of fluency, a - w · loss is climbed instead (Thompson and Sklar 2024). One prompt begins with the tokens up to the corpus's best place, the others with the best of 16 drawn at random. Only prompts are taken whose text is read as the same tokens again. The loss is the model's own, in nats a token.\n\nWhat this cannot tell you: what the neuron is for. A prompt like no text can be stronger than any real one because it is like none, and it is one maximum of many: another seed finds another. That a climb stays low does not say that nothing excites the neuron. Read it beside the real texts.",
    "defaults": {
      "model": "smollm2-135m",
      "corpus": "built-in",
      "lowest": false,
      "n": 8,
      "seeds": 3,
      "seed": 0,
      "steps": 16,
      "fluency": 0.0
    },
    "fields": {
      "layer": "number",
      "neuron": "number",
      "model": "text",
      "corpus": "text",
      "lowest": "flag",
      "n": "number",
      "seeds": "number",
      "seed": "number",
      "steps": "number",
      "fluency": "number"
    }
  },
  "steering": {
    "title": "Steering bench",
    "about": "What does the model write if it is pushed? The direction is what a contrast of texts makes in the stream, v = mean of h(first) - mean of h(second), h at each text's last token (contrastive activation addition, Rimsky et al. 2024). Added at every position, h + s · t · v/|v|, the strength s is in units of t, the median norm of the stream there. Beside it the text without it, and one pushed as far in a random direction, all from one seed. Marked are words of the lexicon of each side.\n\nWhat this cannot tell you: that the model uses the direction; adding it shows that the stream can be pushed along it. That the direction is of the thing named: it is of whatever tells the two sides apart. One text is one text: twenty prompts with controls say whether it holds. A random direction flatters a vector; shuffled sides are the harder control. What a text is about: the score counts words.",
    "defaults": {
      "model": "smollm2-135m",
      "contrast": "sea",
      "layer": null,
      "strength": 0.4,
      "n": 20,
      "seed": 0,
      "temperature": 0.0,
      "firsts": "",
      "seconds": ""
    },
    "fields": {
      "prompt": "text",
      "model": "text",
      "contrast": "text",
      "layer": "number",
      "strength": "number",
      "n": "number",
      "seed": "number",
      "temperature": "number",
      "firsts": "text",
      "seconds": "text"
    }
  },
  "steering_doses": {
    "title": "Dose and response",
    "about": "At each strength, means over prompts that lean to neither side: the log-odds of words of the two sides at the next token, KL from the unsteered answer, and distinct-2 of what is written. Beside the direction, random ones and shuffled contrasts (the same texts with half of each side changed over), all as long.\n\nWhat this cannot tell you: that more is better. Past some strength every direction breaks the text. The words whose odds are measured may stand in the contrast's own texts.",
    "defaults": {
      "model": "smollm2-135m",
      "contrast": "sea",
      "layer": null,
      "seed": 0,
      "firsts": "",
      "seconds": "",
      "prompts": 5
    },
    "fields": {
      "model": "text",
      "contrast": "text",
      "layer": "number",
      "seed": "number",
      "firsts": "text",
      "seconds": "text",
      "prompts": "number"
    }
  },
  "steering_effect": {
    "title": "Does it hold over prompts",
    "about": "The model writes on from each prompt unsteered, steered, and pushed as far in random directions and along shuffled contrasts. The score of a text is its words of the first side less those of the second; each column is compared with the unsteered one over the same prompts: mean difference, Cohen's d of pairs, and the p of a two-sided sign-flip permutation test.\n\nWhat this cannot tell you: what a text is about, since the score counts words; how it would be with other prompts, layers and strengths.",
    "defaults": {
      "model": "smollm2-135m",
      "contrast": "sea",
      "layer": null,
      "strength": 0.4,
      "n": 10,
      "seed": 0,
      "firsts": "",
      "seconds": "",
      "prompts": 20
    },
    "fields": {
      "model": "text",
      "contrast": "text",
      "layer": "number",
      "strength": "number",
      "n": "number",
      "seed": "number",
      "firsts": "text",
      "seconds": "text",
      "prompts": "number"
    }
  },
  "direction_texts": {
    "title": "The texts that lie along a direction",
    "about": "How far the stream h at each token of a corpus lies along a steering direction v, h · v / |v| / t, in units of t, the median norm of the stream there: the unit that its strength has. The texts that the direction was made of are left out.\n\nWhat this cannot tell you: that the direction is of the thing named. The stream has a mean, so 0 is not neutral: hold a place against the mean and the places at random. What lies along a direction need not be what the model reads off it.",
    "defaults": {
      "model": "smollm2-135m",
      "contrast": "sea",
      "layer": null,
      "firsts": "",
      "seconds": "",
      "corpus": "built-in"
    },
    "fields": {
      "model": "text",
      "contrast": "text",
      "layer": "number",
      "firsts": "text",
      "seconds": "text",
      "corpus": "text"
    }
  },
  "token_activations": {
    "title": "Units by tokens",
    "about": "A column is a token, a row a unit of one layer: an MLP neuron, a dimension of the stream, a head by the length of what it writes, |z W_O|. Of a layer's many units those that vary most over the text are kept. Or a row is a layer, and a cell one thing of it: the site's norm, its mean, or one unit.\n\nStandardized, a cell is (a − mean) / standard deviation of its row, so that a faint unit is seen beside a strong one; a dash marks what is a quarter of the scale below 0, or more. Rows are ordered by the token at which they are furthest from their mean, or clustered (average linkage of 1 − correlation).\n\nFlags, each with its number. Dead: the same at every token. Duplicate: another unit of the layer goes with it at |r| of at least 0.999. Correlated: of at least 0.95. Both only where |r| is beyond what the unit reaches with any other one in 19 shuffles of its values over the tokens.\n\nIn a causal model the first token is left out of statistics, order and scale: attention rests on it, and what stands there is of another kind.\n\nWhat this cannot tell you: what a unit does. Over a dozen tokens some of a thousand units go together by chance: take a long text before you call two of them one. One dimension of the stream is no unit of meaning, and neuron 5 of one layer has nothing to do with neuron 5 of the next. To see what a neuron is for, open it.",
    "defaults": {
      "model": "smollm2-135m",
      "rows": "units",
      "site": null,
      "layer": null,
      "of": "norm",
      "keep": "variable",
      "most": 48
    },
    "fields": {
      "prompt": "text",
      "model": "text",
      "rows": "text",
      "site": "text",
      "layer": "number",
      "of": "text",
      "keep": "text",
      "most": "number"
    }
  },
  "token_attribution": {
    "title": "Token attribution",
    "about": "Which tokens the answer came from, by each method that claims to know. Every line is the text; a token's shade is its share of its line, v_t / Σ |v|: blue for the answer, orange and underlined with dashes against it. The first line is what really happens: score(text) − score(text without t), where \"without\" puts the vocabulary's mean embedding in the token's place. The others are quicker guesses: gradient · embedding, its integral from the mean embedding (integrated gradients), and relevance handed back layer by layer (AttnLRP, CP-LRP). Attention rollout and value zeroing say how much of each token is mixed into the place where the answer is read, whatever the answer.\n\nBeside each line stands whether it names the same token first as leaving out, and the rank correlation (Spearman) of the two over the tokens that the answer can read. Below, for methods that promise a sum, what it is and what it should be.\n\nWhat this cannot tell you: why a token matters, or by what way; patch or ablate to see. Agreement with leaving out is no proof: it takes one token at a time, so what two tokens both say is lost with neither, and a text with a hole is like none the model was trained on. The lines have different units: compare their order, not their size.",
    "defaults": {
      "model": "smollm2-135m",
      "answer": null,
      "wrong": null,
      "position": null,
      "kind": "logit",
      "methods": [
        "leave_one_out",
        "attn_lrp",
        "cp_lrp",
        "gradient_x_input",
        "integrated_gradients",
        "attention_rollout",
        "value_zeroing"
      ]
    },
    "fields": {
      "prompt": "text",
      "model": "text",
      "answer": "text",
      "wrong": "text",
      "position": "number",
      "kind": "text",
      "methods": "json"
    }
  },
  "unit": {
    "title": "One unit",
    "about": "A unit is a channel of a layer; its value for a picture, a, is its mean over places. The histogram is of a over the net's test pictures, with the page's own marked. Beneath: the pictures that excite it most and least and some at random, its mean by class, the kernels by which it reads the channels below and is read above (the batch norm's factor in them), the units that go up and down with it. Its selectivity is (a of the best class - a of the others) / their sum (Morcos et al. 2018). Without it: held at 0, or at its mean over the set, at every place, and the answers counted again.\n\nWhat this cannot tell you: what the unit is for. It may be strong for a class and the answer may not need it (others say the same), or weak and needed. A class is a coarse name: a unit that likes round things is called mixed by it. The net's set holds what it holds; other pictures may set the unit off more.",
    "defaults": {
      "net": "shapes-cnn",
      "layer": "",
      "unit": null,
      "picture": "",
      "n": 200
    },
    "fields": {
      "net": "text",
      "layer": "text",
      "unit": "number",
      "picture": "text",
      "n": "number"
    }
  }
} as const;
