"""QR codes of short links (ISO/IEC 18004), as SVG."""

import io

SCALE = 6


def svg(text: str) -> bytes:
    """Return a QR code with medium error correction, dark on white whatever the page around it looks like."""
    import segno  # brings urllib.request and xml.sax along, for 2 MB: only where somebody looks at such a page

    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(out, kind="svg", scale=SCALE, light="#fff", xmldecl=False, nl=False)
    return out.getvalue()
