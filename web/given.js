/** What a sampler of ComfyUI's own is given, and how another node is given the same. */
import { nodeIn, setInput, widgetOf } from "./host.js";
import { say } from "./language.js";
import { inputOf, isBoundary, linkOf, originOf, slotOf } from "./upstream.js";

/** Why no edit can be built here: a sentence for the person at the canvas. */
export class CannotEdit extends Error {}

const FARTHEST = 20; // nodes between a prompt and its sampler

/**
 * The prompt behind a conditioning input: { encoder, text, between }.
 *
 * `encoder` is its CLIPTextEncode and `text` what that says, undefined where only a run can tell. `between` are the
 * nodes that the prompt goes through from there, the first one first: { node, input, output }, the slots by which it
 * enters and leaves.
 */
export function promptBehind(sampler, name) {
  const between = [];
  let origin = originOf(sampler, slotOf(sampler, name));
  while (between.length < FARTHEST) {
    if (!origin?.node) throw new CannotEdit(say("Nothing is connected to '{name}': there is no prompt to edit.", { name }));
    const { node, slot, path } = origin;
    if (node.comfyClass === "CLIPTextEncode") return { encoder: node, text: inputOf(node, "text", path), path, between };
    if (node.graph !== sampler.graph)
      throw new CannotEdit(say("{node} lies in another subgraph: use this where the two are together.", named(node)));
    const input = entryOf(node, slot);
    between.unshift({ node, input, output: slot });
    origin = originOf(node, input, path);
  }
  throw new CannotEdit(say("The prompt is too many nodes away."));
}

/** By which input a conditioning enters a node that hands it on: its only one, or that of the output's name. */
function entryOf(node, output) {
  const isPrompt = ({ type }) => type === "CONDITIONING";
  const inputs = node.inputs.filter(isPrompt);
  const named_ = inputs.find(({ name }) => name === node.outputs[output].name);
  const isPaired = inputs.length === node.outputs.filter(isPrompt).length && named_;
  if (!inputs.length)
    throw new CannotEdit(
      say("The prompt comes from {node}, whose text can't be carried over. Use a CLIP Text Encode instead.", named(node)),
    );
  if (inputs.length > 1 && !isPaired)
    throw new CannotEdit(say("{node} makes one prompt of several, and only one can be edited.", named(node)));
  return node.inputs.indexOf(isPaired ? named_ : inputs[0]);
}

const named = (node) => ({ node: node.title || node.comfyClass || node.type });

/** The node and the slot behind a sampler at which a VAE is connected: whoever decodes its picture. */
export function decoderBehind(sampler) {
  const seen = new Set([sampler]);
  for (const node of seen) {
    if (node !== sampler) {
      const slot = node.inputs.findIndex(({ type }) => type === "VAE");
      if (slot >= 0 && linkOf(node, slot)) return { node, slot };
    }
    node.outputs?.forEach(({ type }, slot) => {
      if (type === "LATENT") node.getOutputNodes(slot)?.forEach((next) => seen.add(next));
    });
  }
  return null;
}

/** Connect an input of `to` to what an input of `from` is connected to, in the same graph; whether there is anything. */
export function share(from, slot, to, into) {
  const link = linkOf(from, slot);
  if (!link) return false;
  const { graph } = from;
  if (isBoundary(graph, link)) graph.inputNode.slots[link.origin_slot].connect(to.inputs[into], to);
  else nodeIn(graph, link.origin_id).connect(link.origin_slot, to, into);
  return true;
}

/** The same by the inputs' names; an input that is connected to nothing gives its value. */
export function give(from, name, to, into = name) {
  if (share(from, slotOf(from, name), to, slotOf(to, into))) return;
  const widget = widgetOf(from, name);
  if (widget) setInput(to, into, widget.value);
}

/** The text encoder of a prompt, connected to `to`; it may lie in another graph than the prompt. */
export function giveEncoder({ encoder, path }, to, into = "clip") {
  if (encoder.graph === to.graph) return give(encoder, "clip", to, into);
  const origin = originOf(encoder, slotOf(encoder, "clip"), path);
  if (origin?.node?.graph !== to.graph)
    throw new CannotEdit(say("The prompt's text encoder lies in another subgraph: use this where the two are together."));
  origin.node.connect(origin.slot, to, slotOf(to, into));
}
