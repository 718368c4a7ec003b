"""What a node adds to an error of the engine: on which node the input at fault is."""

from __future__ import annotations

import pytest
from prompt_to_prompt.nodes import NODES, P2PGuider
from prompt_to_prompt.nodes.checks import INPUT_OF, checked
from prompt_to_prompt.p2p_core.errors import EditError

WHERE = "(blocks is an input of AttentionInjectSchedule.)"


@pytest.mark.parametrize("name", INPUT_OF)
def test_of_the_nodes_that_an_edit_goes_through_the_table_s_alone_has_the_input(name):
    """P2PRecordSource, which takes no edit, has a `self_layers` of its own, and finds fault with it itself."""
    inputs = {node.__name__: {declared.id for declared in node.define_schema().inputs} for node in NODES}
    assert [node for node, own in inputs.items() if {name, "edit"} <= own] == [INPUT_OF[name]]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EditError("blocks", "it is odd.", "Mend it."), f"blocks: it is odd. Mend it. {WHERE}"),
        (EditError("blocks", "it is odd."), f"blocks: it is odd. {WHERE}"),
        (
            EditError("source_words and edit_words", "they are odd."),
            "source_words and edit_words: they are odd. "
            "(source_words and edit_words are inputs of AttentionLocalBlend.)",
        ),
        (EditError("edit", "it is odd.", "Mend it."), "edit: it is odd. Mend it."),
        (EditError("", "something is odd.", "Mend it."), "something is odd. Mend it."),
    ],
)
def test_an_error_says_where_an_input_of_another_node_is(error, said):
    class Node(P2PGuider):
        @classmethod
        @checked
        def execute(cls, cfg):
            raise error

    with pytest.raises(EditError) as raised:
        Node.execute(7.5)
    assert str(raised.value) == said
