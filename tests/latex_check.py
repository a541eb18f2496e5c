"""A check of LaTeX without LaTeX: what would not compile fails."""

import re

#: Commands that plain LaTeX and booktabs define, of those that are written here.
WORDS = """
begin end caption label centering toprule midrule bottomrule addlinespace multicolumn textbf par smallskip usepackage
textbackslash textasciitilde textasciicircum textless textgreater textbar textasciigrave ldots S pm times cdot leq geq
approx neq rightarrow uparrow downarrow circ mu infty in paragraph cite alpha beta gamma delta epsilon zeta eta theta
kappa lambda nu xi pi rho sigma tau phi chi psi omega Gamma Delta Theta Xi Pi Sigma Phi Psi Omega
"""
KNOWN = set(WORDS.split())


def check(text: str) -> None:
    """Fail where LaTeX would: braces, environments, mathematics, unescaped signs, unknown commands and letters."""
    body = "\n".join(line for line in text.split("\n") if not line.startswith("% "))
    depth, mathematics, opened = 0, False, []
    tokens = re.findall(r"\\[A-Za-z]+|\\.|\{|\}|\$|.|\n", body, re.S)
    for place, token in enumerate(tokens):
        if token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
            assert depth >= 0, "a brace is closed that was not opened"
        elif token == "$":
            mathematics = not mathematics
        elif token in ("_", "#", "%", "~") and not (token == "~" and tokens[place + 1] == "\\cite"):
            assert _follows(body, place, tokens) or token == "~", f"{token} is not escaped"
        elif token == "^":
            assert mathematics, "^ outside mathematics"
        elif len(token) > 1 and token[1:].isalpha():
            assert token[1:] in KNOWN, f"unknown command {token}"
        elif token.startswith("\\"):
            assert token[1] in "\\{}&%$#_,", f"unknown command {token!r}"
        else:
            assert token.isascii() or (token.isalpha() and ord(token) < 0x180), f"no font has {token!r}"
    assert depth == 0, "a brace is left open"
    assert not mathematics, "mathematics is left open"
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        opened.append(name) if kind == "begin" else assert_equal(opened.pop(), name)
    assert not opened


def _follows(body: str, place: int, tokens: list[str]) -> bool:
    """Labels and citations are no text: signs may stand in them as they are."""
    before = "".join(tokens[:place])
    return bool(re.search(r"\\(label|cite)\{[^}]*$", before))


def assert_equal(one: object, other: object) -> None:
    assert one == other
