"""QR codes of short links (ISO/IEC 18004), as SVG."""

import io

import segno

SCALE = 6


def svg(text: str) -> bytes:
    """Return a QR code with medium error correction, dark on white whatever the page around it looks like."""
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(out, kind="svg", scale=SCALE, light="#fff", xmldecl=False, nl=False)
    return out.getvalue()
