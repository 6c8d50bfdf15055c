"""What the words name, as a list of marks: does the picture show it, by the model's own readers?"""

from __future__ import annotations

from collections.abc import Sequence

from memdriven.data.attributes import ABSENT
from memdriven.pipeline.claims import Claim
from memdriven.ui import strings
from memdriven.ui.html import tag, text


def claims_list(claims: Sequence[Claim]) -> str:
    """Return the list, or nothing where nothing is named."""
    named, implied, denied = (
        [claim for claim in claims if claim.said == kind] for kind in ("named", "implied", "denied")
    )
    parts = []
    if named:
        title = strings.CLAIMS_TITLE.format(right=sum(claim.holds for claim in named), count=len(named))
        parts += [
            tag("h3", text(title), class_="md-small-title"),
            tag("ul", "".join(map(_entry, named)), class_="md-claims"),
            tag("p", text(strings.CLAIMS_NOTE), class_="md-hint"),
        ]
    if denied:
        things = ", ".join(_thing(claim) for claim in denied)
        parts.append(tag("p", text(strings.CLAIMS_DENIED.format(things=things)), class_="md-hint"))
    if named and implied:
        things = ", ".join(_thing(claim) for claim in implied)
        parts.append(tag("p", text(strings.CLAIMS_IMPLIED.format(things=things)), class_="md-hint"))
    return tag("div", "".join(parts)) if parts else ""


def _entry(claim: Claim) -> str:
    name = claim.attribute.replace("_", " ")
    name = strings.CLAIM_NAMES.get(claim.attribute, name)
    wanted = strings.CLAIM.format(name=name, value=_said(claim.wanted))
    hint = strings.CLAIM_SURE.format(share=f"{100 * claim.probability:.0f}")
    if claim.holds:
        mark = tag("span", text(strings.CLAIM_MARKS[0]), role="img", aria_label=strings.CLAIM_SEEN)
        return tag("li", mark + text(wanted), class_="md-holds", title=hint)
    mark = tag("span", text(strings.CLAIM_MARKS[1]), role="img", aria_label=strings.CLAIM_UNSEEN)
    seen = strings.CLAIM_INSTEAD.format(value=_said(claim.seen))
    if claim.seen in ABSENT:
        seen = strings.CLAIM_INSTEAD_ABSENT
    return tag("li", mark + text(wanted + " ") + tag("i", text(seen)), title=hint)


def _thing(claim: Claim) -> str:
    """Return an attribute and its value in words: "crown: red", or "crest" where a thing is denied."""
    name = strings.CLAIM_NAMES.get(claim.attribute, claim.attribute.replace("_", " "))
    return strings.CLAIM.format(name=name, value=_said(claim.wanted)) if claim.wanted else name


def _said(value: str) -> str:
    return strings.CLAIM_ABSENT if value in ABSENT else value.replace("_", " ")
