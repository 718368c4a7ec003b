/** What runs have made: results of nodes, and links that are in no workflow. */
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { nodeIn, refreshViews, rootGraph, viewedNodes } from "./host.js";

// -- results ----------------------------------------------------------------------------------------

/** Results of nodes that a run didn't execute again, by workflow and the front end's key. */
const cached = new Map();
const inWorkflow = (key) => `${rootGraph().id} ${key}`; // ids begin with 1 in each

/**
 * What a node reported, newest first: by the front end, and by a run that took it from the server's cache.
 * Empty if it never ran since the page was loaded.
 */
export function outputsOf(node) {
  const key = keyOf(node.graph, node.id);
  return [app.nodeOutputs?.[key], cached.get(inWorkflow(key))].filter(Boolean);
}

/**
 * What a node reported under a name, newest first.
 *
 * Reports lie one list deeper than results do, so that the server's list of jobs doesn't count them; those of
 * version 0.1, which a workflow may still carry, don't.
 */
export function reportsOf(node, name) {
  return outputsOf(node).flatMap((output) => (output[name] ?? []).flat());
}

/** The front end's key of a node's output: its id, in a subgraph after the graph's. */
function keyOf(graph, id) {
  return graph && graph !== rootGraph() ? `${graph.id}:${id}` : String(id);
}

// After a reload the page knows no results, and the server sends none for what it has in its cache and
// nobody asks for. The history of the run that made it has them.
api.addEventListener("execution_cached", ({ detail: { nodes, prompt_id } }) => {
  const finish = ({ detail }) => {
    if (detail.prompt_id !== prompt_id) return;
    api.removeEventListener("execution_success", finish);
    const viewed = viewedNodes();
    const found = nodes.map(locate).filter((at) => at && viewed.includes(at.node));
    const missing = found.filter(({ key, place }) => !app.nodeOutputs?.[key] && !cached.has(place));
    if (missing.length) recall(missing).catch((error) => console.warn("prompt-to-prompt: no history", error));
  };
  api.addEventListener("execution_success", finish);
});

async function recall(missing) {
  const response = await api.fetchApi("/history?max_items=32");
  for (const { outputs } of Object.values(response.ok ? await response.json() : {}))
    for (const { id, place } of missing) if (outputs?.[id]) cached.set(place, outputs[id]); // the last one counts
  refreshViews();
}

/** The node that the server calls by an id such as "3", or "7:3" in a subgraph; `path`: those that stand for these. */
function locate(id) {
  const ids = String(id).split(":");
  const path = [];
  let graph = rootGraph();
  for (const host of ids.slice(0, -1)) {
    path.push(graph && nodeIn(graph, host));
    graph = path.at(-1)?.subgraph;
  }
  const node = graph && nodeIn(graph, ids.at(-1));
  const key = node && keyOf(graph, ids.at(-1));
  return node && { id, node, path, key, place: inWorkflow(key) };
}

/** Where a picture that a node reported as { filename, subfolder, type } can be had. */
export function pictureUrl(file) {
  return api.apiURL(`/view?${new URLSearchParams(file)}`);
}

/** The workflow that last ran with a node in it, in API form, as far as the server remembers; else null. */
export async function lastRunWith(node) {
  const response = await api.fetchApi("/history?max_items=8");
  const runs = response.ok ? Object.values(await response.json()) : [];
  const id = node.graph === rootGraph() ? String(node.id) : `:${node.id}`;
  const isOf = (key) => (node.graph === rootGraph() ? key === id : key.endsWith(id));
  const ours = runs.filter(({ prompt }) => prompt[3]?.extra_pnginfo?.workflow?.id === rootGraph().id);
  const found = ours.map(({ prompt }) => Object.entries(prompt[2]).find(([key]) => isOf(key))?.[1]).filter(Boolean);
  return found.findLast((run) => run.class_type === node.comfyClass) ?? null;
}

// -- links ------------------------------------------------------------------------------------------

/** Links that a run had and the canvas has not: other packs make them while a workflow is queued. */
const unseen = new Map();
const unseenKey = (node, name) => `${inWorkflow(keyOf(node.graph, node.id))} ${name}`;

/** The node and output slot that an input was connected to in the last run, though it isn't on the canvas, or null. */
export function unseenOrigin(node, name) {
  const [id, slot] = unseen.get(unseenKey(node, name)) ?? [];
  const at = id && locate(id);
  return at ? { node: at.node, slot, path: at.path } : null;
}

let ran = null; // a run of which the history is wanted, as soon as it is written

api.addEventListener("execution_success", ({ detail }) => {
  if (viewedNodes().some((node) => openInputs(node).length)) ran = detail.prompt_id;
});
api.addEventListener("status", () => {
  if (ran) findUnseen(ran).catch((error) => console.warn("prompt-to-prompt: no history", error));
});

async function findUnseen(run) {
  const response = await api.fetchApi(`/history/${run}`);
  const { [run]: written } = response.ok ? await response.json() : {};
  if (!written) return;
  ran = null;
  for (const [id, { inputs }] of Object.entries(written.prompt[2])) {
    const { node } = locate(id) ?? {};
    for (const name of node ? openInputs(node) : [])
      if (Array.isArray(inputs[name])) unseen.set(unseenKey(node, name), inputs[name]);
  }
  refreshViews();
}

/** The inputs that a node can't run without and that nothing on the canvas gives it. */
function openInputs(node) {
  const required = node.constructor.nodeData?.input?.required ?? {};
  const open = (node.inputs ?? []).filter(({ widget }, slot) => !widget && !node.isInputConnected(slot));
  return open.map(({ name }) => name).filter((name) => name in required);
}
