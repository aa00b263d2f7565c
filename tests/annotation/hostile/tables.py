"""CSV and TSV with faults in their quoting, headers and rows."""

HEADER = b"id,prompt,response_a,response_b\n"
ROW = b"1,p,x,y\n"

FILES = {
    "empty.csv": (b"", 0, "", "no records"),
    "header-only.csv": (HEADER, 0, "", "no records"),
    "unclosed-quote.csv": (HEADER + b'1,"open,x,y\n2,p,x,y\n', 0, "", "never closed"),
    "text-after-quote.csv": (HEADER + b'1,"p" q,x,y\n', 0, "", "quoted cell is followed"),
    "too-many-cells.csv": (HEADER + ROW + b"2,p,x,y,z\n", 3, "", "5 cells"),
    "too-few-cells.csv": (HEADER + ROW + b"2,p\n", 3, "", "2 cells"),
    "unnamed-column.csv": (b"id,,response_a,response_b\n" + ROW, 0, "", "no name"),
    "doubled-column.csv": (b"id,prompt,prompt,response_b\n" + ROW, 0, "", "same name"),
    "ten-megabyte-cell.csv": (HEADER + b"1," + b"x" * 10_000_000 + b",x,y\n", 2, "prompt", "10,000,000"),
    "broken-json-cell.csv": (b"prompt,responses\np,[1\n", 2, "responses", "not valid JSON"),
    "priority-word.csv": (b"prompt,response_a,response_b,priority\np,x,y,high\n", 2, "priority", "whole number"),
    "missing-cell.csv": (HEADER + b"1,p,x,\n", 2, "response_b", "missing"),
    "mixed-line-ends.csv": (HEADER + b"1,p,x,y\r\n2,q,x,y\r3,r,x,y\n", None, "", ""),
    "quoted-line-ends.csv": (HEADER + b'1,"two\r\nlines, ""quoted""",x,y\n', None, "", ""),
    "formula-cells.csv": (HEADER + b"1,=1+1,@SUM(A1),+x\n2,-2,\"=cmd|' /C calc'!A0\",y\n", None, "", ""),
    "semicolons.csv": (HEADER.replace(b",", b";") + ROW.replace(b",", b";"), None, "", ""),
    "line-separator.csv": (HEADER + "1,a\u2028b,x,y\n".encode(), None, "", ""),
    "tabs.tsv": (HEADER.replace(b",", b"\t") + ROW.replace(b",", b"\t"), None, "", ""),
}
