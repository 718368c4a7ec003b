/** The pack's extension of the canvas: which node gets which view, and the command. The nodes work without any of it. */
import { app } from "../../scripts/app.js";
import { addStyleSheet } from "./draw.js";
import { EDIT_THIS_PROMPT } from "./edit_this_prompt.js";
import { refreshViews } from "./host.js";
import { addAlignmentView } from "./views/alignment.js";
import { addCompareView } from "./views/compare.js";
import { addScheduleEditor } from "./views/schedule.js";
import { addWordPicker } from "./views/words.js";

const VIEWS = {
  PromptPairAlign: addAlignmentView,
  AttentionInjectSchedule: addScheduleEditor,
  P2PCompare: addCompareView,
  AttentionReweight: (node) =>
    addWordPicker(node, [{ input: "words", label: "words", from: "edits" }], {
      slider: { input: "scale", label: "scale", min: -10, max: 10, step: 0.05, neutral: 1 },
    }),
  AttentionLocalBlend: (node) =>
    addWordPicker(node, [
      { input: "source_words", label: "source", from: "source" },
      { input: "edit_words", label: "edit", from: "edits" },
      { input: "subtract_words", label: "subtract", from: "both" },
    ]),
};

app.registerExtension({
  name: "prompt-to-prompt.views",
  ...EDIT_THIS_PROMPT,
  setup: addStyleSheet,
  nodeCreated(node) {
    VIEWS[node.comfyClass]?.(node);
  },
  afterConfigureGraph: refreshViews,
  // Results that come back with a workflow's tab or out of the history.
  onNodeOutputsUpdated: refreshViews,
});
