/**
 * The front end, as the views see it: a place in a node, the node's inputs, its graph and its history.
 *
 * Beside runs.js the only module that imports the front end. It stays on the V1 hooks, which the classic canvas and
 * Nodes 2.0 share, and sets nothing on the front end's prototypes.
 */
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const MARGIN = 8;

/** Views of the nodes that are in a graph. */
const views = new Set();
let pending = false;

/**
 * Put a view at the end of a node.
 *
 * The view never holds a value: `refresh` draws it anew from the node's inputs, its results and its
 * upstream whenever one of them may have changed, and has to be cheap and idempotent.
 *
 * @param node an LGraphNode, in the `nodeCreated` hook
 * @param view { name, element, width: pixels of a new node, height(): pixels wanted, refresh() };
 *   the name is one that no input of the node has
 */
export function addView(node, view) {
  const { name, element, width = 0 } = view;
  element.classList.add("p2p-view");
  element.dataset.view = name;
  forwardPanning(element);
  const inputs = [...(node.widgets ?? [])];
  const widget = node.addDOMWidget(name, `p2p_${name.replace(" ", "_")}`, element, {
    serialize: false, // kept out of the prompt
    hideOnZoom: false,
    hideInPanel: true, // the side panel would take the element out of the node
    margin: MARGIN,
    getMinHeight: () => view.height() + 2 * MARGIN, // the classic canvas; grows the node if it must
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false; // kept out of the workflow
  // A node that is being loaded gets its saved size after this.
  if (node.size[0] < width) node.setSize([width, node.size[1]]);

  for (const input of inputs) chain(input, "callback", refreshViews);
  for (const hook of ["onConfigure", "onConnectionsChange", "onExecuted"]) chain(node, hook, refreshViews);
  chain(node, "onAdded", () => {
    views.add(Object.assign(view, { node }));
    refreshViews();
  });
  chain(node, "onRemoved", () => views.delete(view));
}

/** Draw all views anew, once, before the next frame. */
export function refreshViews() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    for (const view of views) {
      try {
        takePlace(view);
        view.refresh();
        // Nodes 2.0 lays out by CSS alone.
        view.element.style.minHeight = `${view.height()}px`;
      } catch (error) {
        console.error(`prompt-to-prompt: ${view.name} can't be drawn; the node works without it.`, error);
      }
    }
  });
}

/**
 * Undo and loading make new nodes, but Nodes 2.0 keeps the component of a node of the same id, and in it the
 * element of the node that is gone.
 */
function takePlace({ name, element, node }) {
  if (element.isConnected || node.graph !== app.canvas?.graph) return;
  const shown = document.querySelectorAll(`.lg-node[data-node-id="${node.id}"] .p2p-view`);
  [...shown].find((other) => other.dataset.view === name)?.replaceWith(element);
}

/** The nodes of the pack that are in a graph and have a view. */
export const viewedNodes = () => [...views].map(({ node }) => node);

// Dispatched whenever the workflow differs from its last recorded state: links, undo, nodes elsewhere.
api.addEventListener("graphChanged", refreshViews);

// -- inputs -----------------------------------------------------------------------------------------

/** The widget of an input. Looked up each time: the front end may put another object in its place. */
export function widgetOf(node, name) {
  return node.widgets?.find((widget) => widget.name === name);
}

/** Set an input the way a user does, so that whoever else listens hears of it. */
export function setInput(node, name, value) {
  const widget = widgetOf(node, name);
  if (!widget || widget.value === value) return;
  const before = widget.value;
  widget.value = value;
  widget.callback?.(widget.value, app.canvas, node);
  node.onWidgetChanged?.(name, widget.value, before, widget);
  node.graph?.setDirtyCanvas(true, true);
}

/** End of a gesture: what it changed is one step of undo. */
export function recordChange() {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
  (tracker?.captureCanvasState ?? tracker?.checkState)?.call(tracker);
}

// -- graphs -----------------------------------------------------------------------------------------

export const rootGraph = () => app.rootGraph ?? app.graph?.rootGraph ?? app.graph;

/** Every graph there is: the workflow and its subgraphs. */
export function allGraphs() {
  const root = rootGraph();
  return root ? [root, ...(root.subgraphs?.values() ?? [])] : [];
}

/** A node by its id, which is a number in some front ends and text in others. */
export function nodeIn(graph, id) {
  return graph.getNodeById(id) ?? graph.nodes.find((node) => String(node.id) === String(id));
}

/** Put a node, or a new one of a type, into a graph. */
export function addNode(graph, what, pos) {
  const node = typeof what === "string" ? window.LiteGraph.createNode(what) : what;
  node.pos = pos;
  graph.add(node);
  return node;
}

/** How high a node is; Nodes 2.0 doesn't tell the node when a picture makes it higher. */
export function heightOf(node) {
  return document.querySelector(`.lg-node[data-node-id="${node.id}"]`)?.offsetHeight ?? node.size[1];
}

/** The nodes that are selected. */
export const selectedNodes = () => [...(app.canvas?.selectedItems ?? [])].filter((item) => item.comfyClass);

/** Select nodes, and bring them into the window if they are out of it. */
export function pointTo(nodes) {
  const { canvas } = app;
  canvas.selectItems(nodes);
  const [left, top, width, height] = canvas.ds.visible_area ?? canvas.visible_area;
  const isSeen = ({ pos: [x, y] }) => x >= left && x <= left + width && y >= top && y <= top + height;
  if (!nodes.every(isSeen)) canvas.centerOnNode(nodes[0]);
  canvas.setDirty(true, true);
}

/** A message at the edge of the window. */
export function tell(severity, summary, detail) {
  app.extensionManager.toast.add({ severity, summary, detail, life: severity === "warn" ? 12000 : 6000 });
}

/** The front end's language, such as "en" or "zh". */
export const language = () => app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";

/** Whether a seed is drawn anew after each run, so that it is no longer the one that made the picture. */
export function isSeedPassed(node) {
  const control = widgetOf(node, "control_after_generate")?.value ?? "fixed";
  return control !== "fixed" && app.extensionManager.setting.get("Comfy.WidgetControlMode") !== "before";
}

// -- plumbing ---------------------------------------------------------------------------------------

/** Call `after` whenever `object[name]` is called, on this object alone. */
function chain(object, name, after) {
  const before = object[name];
  object[name] = function (...args) {
    const result = before?.apply(this, args);
    after();
    return result;
  };
}

/**
 * In the classic canvas an element lies over the canvas and would swallow zooming and panning: hand on
 * what it has no use for. Nodes 2.0 listens around the node itself.
 */
function forwardPanning(element) {
  const isClassic = () => element.closest(".dom-widget");
  const forward = (event, isPan, process) => isClassic() && isPan(event) && app.canvas[process](event);
  element.addEventListener("pointerdown", (event) => forward(event, (e) => e.button === 1, "processMouseDown"));
  element.addEventListener("pointermove", (event) => forward(event, (e) => e.buttons & 4, "processMouseMove"));
  element.addEventListener("pointerup", (event) => forward(event, (e) => e.button === 1, "processMouseUp"));
  element.addEventListener("wheel", (event) => {
    if (!isClassic() || (!event.ctrlKey && scrolls(event, element))) return;
    event.preventDefault();
    app.canvas.processMouseWheel(event);
  });
  // Or dragging in the view would drag the node.
  element.addEventListener("pointerdown", (event) => event.button === 0 && event.stopPropagation());
  // Keys that mean something in a view mustn't also move or delete the node.
  const keys = /^(Arrow|Page|Home$|End$|Enter$| $|Delete$|Backspace$)/;
  element.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && keys.test(event.key)) event.stopPropagation();
  });
}

/** Whether something between the event's target and `element` scrolls that way. */
function scrolls(event, element) {
  const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
  for (let at = event.target; at && at !== element.parentElement; at = at.parentElement) {
    const { overflowX, overflowY } = getComputedStyle(at);
    if (sideways && overflowX === "auto" && at.scrollWidth > at.clientWidth) return true;
    if (!sideways && overflowY === "auto" && at.scrollHeight > at.clientHeight + 1) return true;
  }
  return false;
}
