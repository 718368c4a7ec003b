/**
 * "Edit this prompt": beside a sampler of ComfyUI's own, the nodes that make its picture again and an edit of it.
 *
 * What is built has the sampler's own model, negative, latent and settings, and its prompt twice: the second one is
 * to be changed. Nothing that was there before is touched, and all of it is one step of undo.
 */
import { addNode, heightOf, isSeedPassed, pointTo, recordChange, selectedNodes, setInput, tell } from "./host.js";
import { CannotEdit, decoderBehind, give, giveEncoder, promptBehind, share } from "./given.js";
import { say } from "./language.js";
import { lastRunWith } from "./runs.js";
import { inputOf, isConnected, originOf, slotOf } from "./upstream.js";

const ID = "prompt-to-prompt.edit-this-prompt";
const TITLE = "Edit this prompt (P2P)";
const SHOWING = ["P2PCompare", "PreviewImage"];
const [COLUMN, ROW] = [440, 340]; // pixels

/** For each sampler how an edit is built beside it, and which node holds its seed under which name. */
const KINDS = {
  KSampler: { build: besideKSampler, seedOf: (sampler) => [sampler, "seed"] },
  KSamplerAdvanced: { build: besideKSampler, seedOf: (sampler) => [sampler, "noise_seed"] },
  SamplerCustomAdvanced: { build: besideCustomSampler, seedOf: (sampler) => [behind(sampler, "noise"), "noise_seed"] },
};
const isSampler = (node) => Object.hasOwn(KINDS, node?.comfyClass ?? "");

/** The parts of an extension by which a front end offers the command. */
export const EDIT_THIS_PROMPT = {
  commands: [
    { id: ID, label: TITLE, icon: "pi pi-pencil", function: () => editThisPrompt(selectedNodes().filter(isSampler)) },
  ],
  getNodeMenuItems: (node) =>
    isSampler(node) ? [{ content: say(TITLE), callback: () => editThisPrompt([node]) }] : [],
  getSelectionToolboxCommands: (item) => (isSampler(item) ? [ID] : []),
};

async function editThisPrompt([sampler, another]) {
  try {
    if (!sampler || another) throw new CannotEdit(say("Select one KSampler, or another sampler of ComfyUI's own."));
    const seed = await seedThatDrew(...KINDS[sampler.comfyClass].seedOf(sampler));
    const made = inGraph(sampler.graph, (add) => KINDS[sampler.comfyClass].build(sampler, add, seed));
    pointTo(made);
    tell("info", say(TITLE), whatNow(made, seed));
  } catch (error) {
    if (!(error instanceof CannotEdit)) throw error;
    tell("warn", say(TITLE), error.message);
  }
}

/** What is left to do for the person. */
function whatNow([align, ...others], seed) {
  const sentences = [say("Write the change into edit_prompt, then run.")];
  if (seed !== undefined) sentences.push(say("The seed is that of the last picture: {seed}.", { seed }));
  if (/[{}]/.test(inputOf(align, "source_prompt")))
    sentences.push(say("Choices such as {a|b} are not drawn in it: write the words of your picture."));
  if (!others.some(({ comfyClass }) => SHOWING.includes(comfyClass)))
    sentences.push(say("No VAE was found behind the sampler: decode what it gives."));
  return sentences.join(" ");
}

/** The seed of the last picture, where the node's own is already that of the next; else undefined. */
async function seedThatDrew(node, name) {
  if (!node || !isSeedPassed(node)) return undefined;
  const run = await lastRunWith(node).catch(() => null);
  return typeof run?.inputs[name] === "number" ? run.inputs[name] : undefined;
}

/** Build all or nothing: what was added before it turned out to be impossible goes again. */
function inGraph(graph, build) {
  const made = [];
  const add = (what, ...pos) => {
    made.push(addNode(graph, what, pos));
    return made.at(-1);
  };
  try {
    build(add);
  } catch (error) {
    for (const node of made) graph.remove(node);
    throw error;
  }
  recordChange();
  return made;
}

// -- what is built --------------------------------------------------------------------------------------

function besideKSampler(sampler, add, seed) {
  checkItMakesAllSteps(sampler);
  const prompt = promptBehind(sampler, "positive");
  const between = prompt.between.length * COLUMN;
  const [x, y] = freePlace(sampler, 4 * COLUMN + between);
  const align = addAlign(prompt, add, x, y);
  const sampled = add("P2PSampler", x + COLUMN + between, y);
  for (const name of ["model", "negative", "latent_image", "steps", "cfg", "sampler_name", "scheduler", "denoise"])
    give(sampler, name, sampled);
  giveSeed(KINDS[sampler.comfyClass].seedOf(sampler), seed, sampled, "seed");
  connect(align, 0, sampled, "edit");
  if (between)
    ["source", "edited"].forEach((name, row) => {
      const [node, output] = addBetween(prompt.between, [align, row + 1], add, x + COLUMN, y + row * ROW);
      connect(node, output, sampled, name);
    });
  const decoder = decoderBehind(sampler);
  if (!decoder) return;
  const compare = add("P2PCompare", x + 2.7 * COLUMN + between, y);
  ["source", "edited"].forEach((name, output) => {
    const decoded = addDecode(decoder, [sampled, output], add, x + 2 * COLUMN + between, y + output * 110);
    connect(decoded, 0, compare, name);
  });
  connect(sampled, 2, compare, "maps");
  connect(align, 0, compare, "edit");
}

function besideCustomSampler(sampler, add, seed) {
  const guider = behind(sampler, "guider");
  const input = { CFGGuider: "positive", BasicGuider: "conditioning" }[guider?.comfyClass];
  if (!input || guider.graph !== sampler.graph)
    throw new CannotEdit(say("This works with CFGGuider and BasicGuider, beside the sampler."));
  const prompt = promptBehind(guider, input);
  if (prompt.between.length)
    throw new CannotEdit(
      say("{node} lies between prompt and guider, and a guider's edit goes through no node. Use a KSampler instead.", {
        node: prompt.between[0].node.title,
      }),
    );
  const [x, y] = freePlace(sampler, 4 * COLUMN);
  const align = addAlign(prompt, add, x, y);
  const edited = add("P2PGuider", x + COLUMN, y);
  give(guider, "model", edited);
  connect(align, 0, edited, "edit");
  if (guider.comfyClass === "CFGGuider") for (const name of ["negative", "cfg"]) give(guider, name, edited);
  else {
    // It has no negative. With a cfg of 1 none is asked for.
    setInput(edited, "cfg", 1);
    const nothing = add("ConditioningZeroOut", x + COLUMN, y + ROW);
    connect(align, 1, nothing, "conditioning");
    connect(nothing, 0, edited, "negative");
  }
  const sampled = add("SamplerCustomAdvanced", x + 2 * COLUMN, y);
  for (const name of ["sampler", "sigmas", "latent_image"]) give(sampler, name, sampled);
  if (seed === undefined) give(sampler, "noise", sampled);
  else {
    const noise = add("RandomNoise", x + 2 * COLUMN, y + ROW);
    giveSeed([behind(sampler, "noise"), "noise_seed"], seed, noise, "noise_seed");
    connect(noise, 0, sampled, "noise");
  }
  connect(edited, 0, sampled, "guider");
  const decoder = decoderBehind(sampler);
  if (!decoder) return;
  const decoded = addDecode(decoder, [sampled, 0], add, x + 2.8 * COLUMN, y);
  connect(decoded, 0, add("PreviewImage", x + 3.4 * COLUMN, y), "images");
}

function checkItMakesAllSteps(sampler) {
  const is = (name, wanted) => inputOf(sampler, name) === wanted;
  if (sampler.comfyClass === "KSampler") return;
  const toTheEnd = inputOf(sampler, "end_at_step") >= inputOf(sampler, "steps");
  const whole = is("add_noise", "enable") && is("start_at_step", 0) && is("return_with_leftover_noise", "disable");
  if (!whole || !toTheEnd)
    throw new CannotEdit(
      say("This sampler makes a part of the steps. Sampling in parts works with P2PGuider: see its help page."),
    );
}

/** PromptPairAlign with a prompt twice. */
function addAlign(prompt, add, x, y) {
  const align = add("PromptPairAlign", x, y);
  giveEncoder(prompt, align);
  if (prompt.encoder.graph === align.graph) give(prompt.encoder, "text", align, "source_prompt");
  else if (prompt.text !== undefined) setInput(align, "source_prompt", prompt.text);
  else throw new CannotEdit(say("The prompt's text lies in another subgraph: use this where the two are together."));
  setInput(align, "edit_prompt", prompt.text ?? "");
  return align;
}

/** Copies of the nodes that a prompt goes through, on the way from another one: where they end, [node, output]. */
function addBetween(between, from, add, x, y) {
  return between.reduce(([before, out], { node, input, output }, i) => {
    const copy = add(node.clone(), x + i * COLUMN, y);
    node.inputs.forEach((_, slot) => slot !== input && share(node, slot, copy, slot));
    before.connect(out, copy, input);
    return [copy, output];
  }, from);
}

function addDecode(decoder, [node, output], add, x, y) {
  const decoded = add("VAEDecode", x, y);
  connect(node, output, decoded, "samples");
  share(decoder.node, decoder.slot, decoded, slotOf(decoded, "vae"));
  return decoded;
}

/** The seed stays as it is from now on, or is where the sampler's own comes from. */
function giveSeed([from, name], seed, to, into) {
  give(from, name, to, into);
  setInput(to, "control_after_generate", "fixed");
  if (seed !== undefined && !isConnected(to, into)) setInput(to, into, seed);
}

const connect = (from, output, to, name) => from.connect(output, to, slotOf(to, name));
const behind = (node, name) => originOf(node, slotOf(node, name))?.node;

/** Where a block of nodes lies over no other: below a node, and below what is there already. */
function freePlace(node, width) {
  const [x] = node.pos;
  const below = (other) => other.pos[1] + heightOf(other) + 100;
  let y = below(node);
  const inTheWay = (other) =>
    other.pos[0] < x + width && other.pos[0] + other.size[0] > x && other.pos[1] < y + 2 * ROW && below(other) > y;
  for (let other; (other = node.graph.nodes.find(inTheWay)); ) y = below(other);
  return [x, y];
}
