/** Where an input's value comes from: through reroutes, bypassed nodes and the walls of subgraphs. */
import { allGraphs, nodeIn, widgetOf } from "./host.js";

const NEVER = 2; // LiteGraph's node modes
const BYPASS = 4;
const FARTHEST = 200; // links, in case they form a circle

/**
 * The node and output slot that an input is really connected to, or null.
 *
 * A subgraph's own input that is connected to nothing outside gives the widget that stands for it there:
 * { widget }.
 */
export function originOf(node, input, path = []) {
  for (let i = 0; i < FARTHEST; i++) {
    let link = linkOf(node, input);
    let graph = node.graph;
    if (!link) return null;

    // Into a subgraph from above: on with the node that stands for the subgraph.
    if (isBoundary(graph, link)) {
      const host = path.pop() ?? hostOf(graph);
      if (!host) return null;
      const slot = host.inputs?.[link.origin_slot];
      if (slot && slot.link == null) {
        const widget = slot._widget ?? widgetOf(host, slot.widget?.name ?? slot.name);
        return widget ? { widget } : null;
      }
      [node, input] = [host, link.origin_slot];
      continue;
    }

    // Into a subgraph from below: on with what is connected to its output.
    let origin = nodeIn(graph, link.origin_id);
    while (origin?.subgraph && origin.mode !== BYPASS) {
      if (origin.mode === NEVER) return null;
      path.push(origin);
      graph = origin.subgraph;
      link = graph.outputNode?.slots?.[link.origin_slot]?.getLinks?.()[0];
      if (!link) return null;
      if (isBoundary(graph, link)) break;
      origin = nodeIn(graph, link.origin_id);
    }
    if (!origin || origin.mode === NEVER) return null;
    if (origin.subgraph && origin.mode !== BYPASS) {
      // The subgraph hands an input straight to its output.
      path.pop();
      [node, input] = [origin, link.origin_slot];
    } else if (origin.isVirtualNode) {
      [node, input] = [origin, 0];
    } else if (origin.mode === BYPASS) {
      const type = origin.outputs?.[link.origin_slot]?.type;
      [node, input] = [origin, origin.inputs?.findIndex((slot) => slot.type === type) ?? -1];
    } else {
      return { node: origin, slot: link.origin_slot, path };
    }
  }
  return null;
}

/** The PromptPairAlign nodes behind a node's `edit` input, in the order of the edits. */
export function alignNodesOf(node) {
  const found = [];
  let path = [];
  for (let i = 0, at = node; i < FARTHEST; i++) {
    const origin = originOf(at, slotOf(at, "edit"), path);
    if (!origin?.node || found.some((known) => known.node === origin.node)) break;
    ({ node: at, path } = origin);
    if (at.comfyClass === "PromptPairAlign") found.unshift({ node: at, path: [...path] });
  }
  return found;
}

/** Source and edit prompts that reach a node: { source, edits }, each text undefined where it can't be known. */
export function promptsOf(node) {
  const pairs = alignNodesOf(node);
  if (!pairs.length) return null;
  const texts = pairs.map(({ node, path }) => ({
    source: inputOf(node, "source_prompt", path),
    edit: inputOf(node, "edit_prompt", path),
  }));
  const source = texts[0].source;
  return { source, edits: texts.map(({ edit }) => (edit?.trim() === "" ? source : edit)) };
}

/** An input's value: its widget's, or where it is connected the one upstream; undefined if only a run can tell. */
export function inputOf(node, name, path = []) {
  const slot = slotOf(node, name);
  if (!linkOf(node, slot)) return widgetOf(node, name)?.value;
  const origin = originOf(node, slot, [...path]);
  if (origin?.widget) return origin.widget.value;
  // A node with one widget and nothing connected is a constant.
  const values = origin?.node?.widgets?.filter((widget) => widget.serialize !== false && isPlain(widget.value));
  const isConstant = values?.length && !origin.node.inputs?.some((input) => input.link != null);
  return isConstant && /primitive|constant|string|text|value|float|number/i.test(origin.node.type)
    ? values[0].value
    : undefined;
}

/** Whether an input is connected, so that its own widget doesn't count. */
export function isConnected(node, name) {
  return linkOf(node, slotOf(node, name)) != null;
}

/** How many steps the sampler behind a node's output takes, or undefined. */
export function stepsAfter(node) {
  const seen = new Set([node]);
  for (const at of seen) {
    for (const link of allLinks(at.graph)) {
      if (String(link.origin_id) !== String(at.id)) continue;
      const next = nodeIn(at.graph, link.target_id);
      if (next?.comfyClass === "P2PSampler") return inputOf(next, "steps");
      if (next && at.outputs?.[link.origin_slot]?.type === "P2P_EDIT") seen.add(next);
    }
    if (seen.size > FARTHEST) break;
  }
  return undefined;
}

const isPlain = (value) => typeof value === "string" || typeof value === "number";

function slotOf(node, name) {
  return node.inputs?.findIndex((input) => input.name === name || input.widget?.name === name) ?? -1;
}

function linkOf(node, slot) {
  const id = node.inputs?.[slot]?.link;
  if (id == null || !node.graph) return null;
  return node.graph.getLink(id) ?? null;
}

function isBoundary(graph, link) {
  return link.originIsIoNode ?? (graph.inputNode != null && String(link.origin_id) === String(graph.inputNode.id));
}

function hostOf(graph) {
  for (const outer of allGraphs()) {
    const host = outer.nodes?.find((node) => node.subgraph === graph);
    if (host) return host;
  }
  return null;
}

function allLinks(graph) {
  return graph?.links?.values?.() ?? Object.values(graph?.links ?? {});
}
