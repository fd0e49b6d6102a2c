"""What a card looks like: scripts that return the elements which stick out of it, and the size of its smallest text."""

STICKING_OUT = """root => { const r = root.getBoundingClientRect(); return [...root.querySelectorAll("*")].filter(e => {
  const b = e.getBoundingClientRect(); return b.width > 2 && (b.right > r.right + 1 || b.left < r.left - 1);
}).map(e => e.outerHTML.slice(0, 80)); }"""
SMALLEST_TEXT = """root => Math.min(...[...root.querySelectorAll("*")].filter(e => e.children.length === 0
  && e.textContent.trim() && e.getClientRects().length && !["STYLE", "SCRIPT"].includes(e.tagName))
  .map(e => parseFloat(getComputedStyle(e).fontSize)))"""
