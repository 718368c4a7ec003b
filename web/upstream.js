/** What reaches a node: values of inputs, edits and their words; through reroutes, bypassed nodes and subgraphs. */
import { allGraphs, nodeIn, widgetOf } from "./host.js";
import { wordsOf } from "./prompts.js";
import { reportsOf, unseenOrigin } from "./runs.js";

const NEVER = 2; // LiteGraph's node modes
const BYPASS = 4;
const FARTHEST = 200; // links, in case they form a circle
const EDIT = "P2P_EDIT";

// -- inputs -----------------------------------------------------------------------------------------

/**
 * The node and output slot that an input is really connected to, or null.
 *
 * A subgraph's own input that is connected to nothing outside gives the widget that stands for it there, and a
 * primitive of the front end its own: { widget }.
 *
 * @param path the nodes that stand for the subgraphs around `node`, where they are known
 */
export function originOf(node, slot, path = [], left = FARTHEST) {
  const link = left && linkOf(node, slot);
  if (!link) return unseenOrigin(node, node.inputs?.[slot]?.name);
  if (!isBoundary(node.graph, link)) return originAt(nodeIn(node.graph, link.origin_id), link.origin_slot, path, left);
  // Into a subgraph from above: on with the node that stands for it.
  const isKnown = path.at(-1)?.subgraph === node.graph;
  const host = isKnown ? path.at(-1) : hostOf(node.graph);
  const input = host?.inputs?.[link.origin_slot];
  if (!input) return null;
  const outside = isKnown ? path.slice(0, -1) : path;
  if (linkOf(host, link.origin_slot)) return originOf(host, link.origin_slot, outside, left - 1);
  const widget = input._widget ?? widgetOf(host, input.widget?.name ?? input.name);
  return widget ? { widget } : null;
}

/** The same for what an output hands on. */
function originAt(origin, slot, path, left) {
  if (!origin || origin.mode === NEVER) return null;
  if (origin.isVirtualNode && !origin.subgraph) return originBehind(origin, slot, path, left);
  if (origin.mode === BYPASS) {
    const type = origin.outputs?.[slot]?.type;
    return originOf(origin, origin.inputs?.findIndex((input) => input.type === type) ?? -1, path, left - 1);
  }
  if (!origin.subgraph) return { node: origin, slot, path };
  // Into a subgraph from below: on with what is connected to its output.
  const link = origin.subgraph.outputNode?.slots?.[slot]?.getLinks?.()[0];
  if (!link) return null;
  if (isBoundary(origin.subgraph, link)) return originOf(origin, link.origin_slot, path, left - 1);
  return originAt(nodeIn(origin.subgraph, link.origin_id), link.origin_slot, [...path, origin], left - 1);
}

/** The same for a node that the front end resolves itself: reroutes, and other packs' Set and Get nodes. */
function originBehind(origin, slot, path, left) {
  if (origin.type === "PrimitiveNode") return origin.widgets?.length ? { widget: origin.widgets[0] } : null;
  // Asked for its link, a Get node without its Set node would put up a message, at every refresh.
  if (origin.findSetter && !origin.findSetter(origin.graph)) return null;
  const far = origin.resolveVirtualOutput?.(slot);
  return far ? originAt(far.node, far.slot, path, left - 1) : originOf(origin, slot, path, left - 1);
}

/** An input's value: its widget's, or where it is connected the one upstream; undefined if only a run can tell. */
export function inputOf(node, name, path = []) {
  const slot = slotOf(node, name);
  if (!linkOf(node, slot)) return widgetOf(node, name)?.value;
  const origin = originOf(node, slot, path);
  return origin?.widget ? origin.widget.value : constantOf(origin?.node);
}

/** The value of a node with one widget and nothing connected, which is a constant by its name as well. */
function constantOf(node) {
  if (!/primitive|constant|string|text|value|float|number/i.test(node?.type)) return undefined;
  if (node.inputs?.some((_, slot) => linkOf(node, slot))) return undefined;
  const isValue = ({ name, serialize, value }) =>
    serialize !== false && name !== "control_after_generate" && ["string", "number"].includes(typeof value);
  const values = node.widgets?.filter(isValue) ?? [];
  return values.length === 1 ? values[0].value : undefined;
}

/** Whether an input is connected, so that its own widget doesn't count. */
export function isConnected(node, name) {
  return Boolean(linkOf(node, slotOf(node, name)));
}

// -- edits ------------------------------------------------------------------------------------------

/**
 * The words of the source and the edited prompts that reach a node: { source, edits }, null without an edit.
 *
 * A prompt's words are those that the last run saw, or those of its text; undefined where only a run can tell.
 */
export function promptsOf(node) {
  const behind = editNodesBefore(node).filter((at) => isAlign(at.node));
  if (!behind.length && !isConnected(node, "edit")) return null;
  const pairs = (behind.length ? behind : alignNodesThatRan()).map(wordsOfPair);
  return { source: pairs.find((pair) => pair.source)?.source, edits: pairs.map((pair) => pair.edit).reverse() };
}

function wordsOfPair({ node, path }) {
  const run = runOf(node, path);
  if (run) return { source: wordsOfTokens(run.source), edit: wordsOfTokens(run.edit) };
  const [source, edit] = ["source_prompt", "edit_prompt"].map((name) => inputOf(node, name, path));
  const words = (text) => (text === undefined ? undefined : wordsOf(text));
  return { source: words(source), edit: words(edit?.trim() === "" ? source : edit) };
}

/** What the last run said of a PromptPairAlign, if its inputs are still those of that run. */
export function runOf(node, path = []) {
  const inputs = ["source_prompt", "edit_prompt", "mode"].map((name) => [name, inputOf(node, name, path)]);
  const runs = reportsOf(node, "p2p_alignment");
  return runs.find((run) => inputs.every(([name, value]) => isMadeFrom(value, run[name])));
}

/** Whether a result can be that of an input as it is now. Wildcards {a|b} and comments are resolved on queueing. */
function isMadeFrom(value, made) {
  return value === undefined || value === made || /[{}]|\/\/|\/\*/.test(value);
}

function wordsOfTokens(tokens) {
  const words = [];
  for (const { kind, word, text } of tokens) if (kind === "text") words[word] = (words[word] ?? "") + text;
  return words;
}

/** Where an edit can't be followed to its PromptPairAlign, it comes from one that was run. */
function alignNodesThatRan() {
  const nodes = allGraphs().flatMap((graph) => graph.nodes.filter((node) => isAlign(node) && runOf(node)));
  return nodes.map((node) => ({ node, path: [] })).reverse();
}

const isAlign = (node) => node.comfyClass === "PromptPairAlign";

/** How many steps the node takes that samples a node's edit, or undefined. */
export function stepsAfter(node) {
  const samples = (at) => widgetOf(at, "steps") && at.inputs.some((input) => input.type === EDIT);
  const isActive = (at) => at.mode !== NEVER && at.mode !== BYPASS;
  const samplers = allGraphs().flatMap((graph) => graph.nodes.filter((at) => isActive(at) && samples(at)));
  const sampler = samplers.find((at) => editNodesBefore(at).some((before) => before.node === node));
  return sampler && inputOf(sampler, "steps");
}

/** The nodes that an edit has come through before it reaches a node, the nearest first: [{ node, path }]. */
function editNodesBefore(node) {
  const found = [];
  let at = editOf({ node, path: [] });
  while (at && !found.some((known) => known.node === at.node)) {
    found.push(at);
    at = editOf(at);
  }
  return found;
}

/** Where a node has its edit from; null where it has none, or several and nobody knows which one counts. */
function editOf({ node, path }) {
  const origins = (node.inputs ?? [])
    .map(({ type }, slot) => ({ type, origin: originOf(node, slot, path) }))
    .filter(({ type, origin }) => origin?.node && [type, origin.node.outputs?.[origin.slot]?.type].includes(EDIT));
  return origins.length === 1 ? origins[0].origin : null;
}

// -- links ------------------------------------------------------------------------------------------

export function slotOf(node, name) {
  return node.inputs?.findIndex((input) => input.name === name || input.widget?.name === name) ?? -1;
}

export function linkOf(node, slot) {
  if (slot < 0 || !node.graph) return null;
  // The own getInputLink of a node that stands for a subgraph is about its outputs.
  if (node.subgraph) return node.isInputConnected(slot) ? linkInto(node, slot) : null;
  return node.getInputLink(slot) ?? null;
}

function linkInto({ graph, id }, slot) {
  const links = graph.links.values?.() ?? Object.values(graph.links);
  return [...links].find((link) => String(link.target_id) === String(id) && link.target_slot === slot);
}

export function isBoundary(graph, link) {
  return link.originIsIoNode ?? (graph.inputNode != null && String(link.origin_id) === String(graph.inputNode.id));
}

function hostOf(graph) {
  for (const outer of allGraphs()) {
    const host = outer.nodes.find((node) => node.subgraph === graph);
    if (host) return host;
  }
  return null;
}
