"""The nodes: each parses its inputs, calls p2p_core and returns."""

from comfy_api.latest import ComfyExtension, io
from typing_extensions import override

from .attention_maps import P2PAttentionMaps
from .compare import P2PCompare
from .demo_model import P2PDemoModel
from .inject_schedule import AttentionInjectSchedule
from .layer_study import P2PLayerStudy
from .local_blend import AttentionLocalBlend
from .model_report import P2PModelReport
from .prompt_pair_align import PromptPairAlign
from .real_picture import P2PRealPicture
from .recording import P2PEditRecorded, P2PRecordSource
from .reweight import AttentionReweight
from .sampler import P2PGuider, P2PSampler
from .sweep import P2PSweep

NODES = [
    PromptPairAlign,
    AttentionReweight,
    AttentionInjectSchedule,
    AttentionLocalBlend,
    P2PRealPicture,
    P2PSampler,
    P2PGuider,
    P2PRecordSource,
    P2PEditRecorded,
    P2PAttentionMaps,
    P2PCompare,
    P2PSweep,
    P2PLayerStudy,
    P2PModelReport,
    P2PDemoModel,
]


class PromptToPrompt(ComfyExtension):
    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> PromptToPrompt:
    return PromptToPrompt()
