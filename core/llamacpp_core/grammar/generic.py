"""Ready-made grammars for common kinds of text."""

from __future__ import annotations

__all__ = [
    "ARITHMETIC_GBNF",
    "CHESS_GBNF",
    "C_GBNF",
    "JAPANESE_GBNF",
    "JSON_ARR_GBNF",
    "JSON_GBNF",
    "LIST_GBNF",
]

_JSON_RULES = r"""
value  ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws (member ("," ws member)*)? "}" ws
member ::= string ":" ws item
array  ::= "[" ws (item ("," ws item)*)? "]" ws
item   ::= object | array | (string | number | "true" | "false" | "null") ws
string ::= "\"" char* "\""
char   ::= [ !#-\[\]-~\x80-\uD7FF\uE000-\U0010FFFF] | "\\" escape
escape ::= ["\\/bfnrt] | "u" (bmp | high "\\u" low)
bmp    ::= [0-9abcefABCEF] hex{3} | [dD] [0-7] hex{2}
high   ::= [dD] [89abAB] hex{2}
low    ::= [dD] [c-fC-F] hex{2}
hex    ::= [0-9a-fA-F]
number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,3})?
ws     ::= "" | " " | "\n" [ \t]{0,20}
"""

#: One JSON object.
JSON_GBNF = "root   ::= object" + _JSON_RULES
#: One JSON array, each item on a line of its own.
JSON_ARR_GBNF = 'root   ::= "[\\n" (item (",\\n" item)*)? "]"' + _JSON_RULES
#: A list of lines, each begun by a dash.
LIST_GBNF = r"""
root ::= line+
line ::= "- " [^\r\n\x0B\x0C\x85\u2028\u2029]+ "\n"
"""
#: Equations of numbers and names with the four basic operations, one a line.
ARITHMETIC_GBNF = r"""
root     ::= equation+
equation ::= sum "=" sp product "\n"
sum      ::= product ([-+] sp product)*
product  ::= factor ([*/] sp factor)*
factor   ::= name | number | "(" sp sum ")" sp
name     ::= [a-z] [a-z0-9_]* sp
number   ::= [0-9]+ sp
sp       ::= " "?
"""
#: Moves of a chess game in algebraic notation, numbered, one pair a line.
CHESS_GBNF = r"""
root    ::= "1. " pair ([1-9] [0-9]? ". " pair)*
pair    ::= move " " move "\n"
move    ::= (pawn | piece | castle) [+#]?
piece   ::= [KQRBN] [a-h]? [1-8]? "x"? square
pawn    ::= ([a-h] "x")? square ("=" [QRBN])?
castle  ::= "O-O" "-O"?
square  ::= [a-h] [1-8]
"""
#: Japanese text: kana, kanji, punctuation, digits.
JAPANESE_GBNF = r"""
root     ::= line ("\n" line)*
line     ::= sign+
sign     ::= kana | kanji | mark | [0-9]
kana     ::= [\u3040-\u30FF]
kanji    ::= [\u3400-\u4DBF\u4E00-\u9FFF]
mark     ::= [\u3000-\u303F\uFF01-\uFF5E]
"""
#: A small part of C: functions of int, float and char, assignments, calls, loops, conditions.
C_GBNF = r"""
root       ::= function+
function   ::= type " " name "(" params? ") " block
params     ::= type " " name (", " type " " name)*
type       ::= "int" | "float" | "char" | "void"
block      ::= "{\n" statement* "}\n"
statement  ::= sp (declare | loop | if | "return" (" " expr)? ";\n" | name tail)
declare    ::= type " " name (" = " expr)? ";\n"
tail       ::= (" = " expr | call) ";\n"
loop       ::= "while (" expr ") " block
if         ::= "if (" expr ") " block (sp "else " block)?
expr       ::= term (" " op " " term)*
op         ::= "+" | "-" | "*" | "/" | "%" | "<" "="? | ">" "="? | "==" | "!=" | "&&" | "||"
term       ::= name call? | number | text | "(" expr ")"
call       ::= "(" (expr (", " expr)*)? ")"
name       ::= [a-zA-Z_] [a-zA-Z_0-9]*
number     ::= [0-9]+ ("." [0-9]+)?
text       ::= "\"" ([^"\\\r\n] | "\\" [ntr0"\\])* "\""
sp         ::= [ \t]*
"""
