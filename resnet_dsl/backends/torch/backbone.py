"""What varies in the class of a backbone; the rest of it stands in its template."""

from __future__ import annotations

from resnet_dsl.backends.layout import INDENT, Atom, Group, Line, Prefixed, suite
from resnet_dsl.backends.torch.network import Network
from resnet_dsl.backends.torch.prose import quoted


def backbone(network: Network) -> dict[str, object]:
    """The fields of the template."""
    return {
        "header": network.header("Backbone"),
        "has_pairs": network.has_pairs,
        "initialises": bool(network.initialise(network.cut)),
        "pruning": _pruning(network),
    }


def _pruning(network: Network) -> list[str]:
    """The statements that leave out, in a backbone, what comes after its last stage; none where
    stages are not simply one module after another."""
    body = network.module.program.main.body
    values = [item.value for item in network.features]
    ends = [item.chain_end for item in network.features]
    if all(end is None for end in ends):
        in_a_row = values == list(range(values[0], values[-1] + 1))
        if not in_a_row or any(body[i.value - 1].name != i.stage for i in network.features):
            return []
        unused = "known[max(map(known.index, stages)) + 1 :]"
        lines = [
            Line(Atom("list(self.STAGES)"), "known = "),
            Line(Atom(f"stage in {unused}"), "for ", ":"),
            Line(Atom("setattr(self, stage, nn.Identity())  # nothing reads it"), depth=1),
        ]
    elif None not in ends and len({*values}) == 1:
        pairs = tuple(
            Prefixed(f"{quoted(item.stage)}: ", Atom(str(item.chain_end)))
            for item in network.features
        )
        rest = f"self.{body[values[0] - 1].name}[max(ends[stage] for stage in stages) :]"
        lines = [
            Line(Group("{", pairs), "ends = "),
            Line(Atom(f"{rest}  # nothing reads it"), "del "),
        ]
    else:
        return []
    return suite(lines, indent=2 * INDENT)
