//! From tokens to the tree: a Pratt parser that bounds length and depth before it spends stack on them.

use std::sync::Arc;

use crate::expression::macros::{called, folded};
use crate::expression::problem::{Problem, Span};
use crate::expression::token::{Lexer, Symbol, Token};
use crate::expression::tree::{AND, CHOICE, Fold, Kind, Label, Node, OR, Operator};
use crate::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX};

/// Words that CEL keeps for itself.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
    "in",
];

/// Reads a whole expression. Every unreadable token is reported, and the first place where the grammar is broken.
pub(crate) fn parse(source: &str) -> Result<Node, Vec<Problem>> {
    if source.len() > EXPRESSION_BYTES_MAX {
        let span = Span::new(0, source.len());
        let message = format!("the expression is longer than {EXPRESSION_BYTES_MAX} bytes");
        return Err(vec![Problem::new(span, message)]);
    }
    let tokens = tokens(source)?;
    if tokens.is_empty() {
        return Err(vec![Problem::new(
            Span::new(0, source.len()),
            "the expression is empty",
        )]);
    }
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
        end: source.trim_end().len(),
    };
    parser.whole().map(|root| *root).map_err(|problem| vec![*problem])
}

fn tokens(source: &str) -> Result<Vec<(Token, Span)>, Vec<Problem>> {
    let mut lexer = Lexer::new(source);
    let mut tokens = Vec::new();
    let mut problems = Vec::new();
    loop {
        match lexer.next_token() {
            Ok(Some(token)) => tokens.push(token),
            Ok(None) if problems.is_empty() => return Ok(tokens),
            Ok(None) => return Err(problems),
            Err(problem) => problems.push(problem),
        }
    }
}

struct Parser {
    tokens: Vec<(Token, Span)>,
    at: usize,
    depth: usize,
    end: usize,
}

/// What stands between two operands.
#[derive(Clone, Copy)]
enum Infix {
    Choice,
    Or,
    And,
    Binary(Operator),
}

impl Infix {
    fn strength(self) -> u8 {
        match self {
            Infix::Choice => CHOICE,
            Infix::Or => OR,
            Infix::And => AND,
            Infix::Binary(operator) => operator.strength(),
        }
    }
}

/// Boxed on both sides: what the recursive functions return lies on the stack once per level and function.
type Parsed = Result<Box<Node>, Box<Problem>>;

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn here(&self) -> Span {
        let end = Span::new(self.end, self.end);
        self.tokens.get(self.at).map_or(end, |(_, span)| *span)
    }

    fn behind(&self) -> Span {
        let before = self.at.checked_sub(1).and_then(|before| self.tokens.get(before));
        before.map_or(Span::default(), |(_, span)| *span)
    }

    fn takes(&mut self, symbol: Symbol) -> bool {
        let is_next = self.peek() == Some(&Token::Symbol(symbol));
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, symbol: Symbol, place: &str) -> Result<(), Box<Problem>> {
        if self.takes(symbol) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{}` {place}", symbol.text())))
        }
    }

    fn unexpected(&self, wanted: &str) -> Box<Problem> {
        let Some(token) = self.peek() else {
            let message = format!("expected {wanted}, but the expression ends here");
            return Problem::new(self.here(), message).into();
        };
        let problem = Problem::new(self.here(), format!("expected {wanted}, found {}", token.description()));
        let Token::Name(name) = token else {
            return problem.into();
        };
        Box::new(match &**name {
            "and" | "AND" => problem.hint("`and` is written `&&`"),
            "or" | "OR" => problem.hint("`or` is written `||`"),
            "not" | "NOT" => problem.hint("`not` is written `!`"),
            _ => problem,
        })
    }

    fn whole(&mut self) -> Parsed {
        let root = self.expression()?;
        match self.peek() {
            None => Ok(root),
            Some(_) => Err(self.unexpected("an operator or the end")),
        }
    }

    /// One more level of recursion. The first problem ends the parse, so only success comes back up.
    fn enter(&mut self) -> Result<(), Box<Problem>> {
        self.depth += 1;
        if self.depth > EXPRESSION_DEPTH_MAX {
            Err(too_deep(self.here()).into())
        } else {
            Ok(())
        }
    }

    fn expression(&mut self) -> Parsed {
        self.enter()?;
        let node = self.climb(CHOICE)?;
        self.depth -= 1;
        Ok(node)
    }

    fn infix(&self) -> Option<Infix> {
        Some(Infix::Binary(match self.peek()? {
            Token::Name(name) if name == "in" => Operator::In,
            Token::Symbol(symbol) => match symbol {
                Symbol::Question => return Some(Infix::Choice),
                Symbol::Or => return Some(Infix::Or),
                Symbol::And => return Some(Infix::And),
                Symbol::Plus => Operator::Add,
                Symbol::Minus => Operator::Subtract,
                Symbol::Star => Operator::Multiply,
                Symbol::Slash => Operator::Divide,
                Symbol::Percent => Operator::Remainder,
                Symbol::Less => Operator::Less,
                Symbol::LessOrEqual => Operator::LessOrEqual,
                Symbol::Greater => Operator::Greater,
                Symbol::GreaterOrEqual => Operator::GreaterOrEqual,
                Symbol::Equal => Operator::Equal,
                Symbol::NotEqual => Operator::NotEqual,
                _ => return None,
            },
            _ => return None,
        }))
    }

    /// An operand and all operators behind it that bind at least as tight as `weakest`.
    fn climb(&mut self, weakest: u8) -> Parsed {
        let mut left = self.prefix()?;
        while let Some(infix) = self.infix().filter(|infix| infix.strength() >= weakest) {
            left = match infix {
                Infix::Choice => self.choice(left)?,
                Infix::Or => self.chain(*left, Symbol::Or, infix.strength(), Kind::Or)?,
                Infix::And => self.chain(*left, Symbol::And, infix.strength(), Kind::And)?,
                Infix::Binary(operator) => self.binary(left, operator)?,
            };
        }
        Ok(left)
    }

    fn choice(&mut self, condition: Box<Node>) -> Parsed {
        self.at += 1;
        let then = self.climb(OR)?;
        self.expect(Symbol::Colon, "between the two branches of `?`")?;
        let otherwise = self.expression()?;
        let span = condition.span.to(otherwise.span);
        finished(
            Kind::Choice {
                condition,
                then,
                otherwise,
            },
            span,
        )
    }

    /// A chain of `&&` or `||` is one node, so that a long one is not deep.
    fn chain(&mut self, first: Node, symbol: Symbol, strength: u8, kind: fn(Vec<Node>) -> Kind) -> Parsed {
        let mut span = first.span;
        let mut terms = vec![first];
        while self.takes(symbol) {
            let next = self.climb(strength + 1)?;
            span = span.to(next.span);
            terms.push(*next);
        }
        finished(kind(terms), span)
    }

    fn binary(&mut self, left: Box<Node>, operator: Operator) -> Parsed {
        let place = self.here();
        self.at += 1;
        if operator == Operator::Remainder && self.ends_an_operand() {
            let problem = Problem::new(
                place,
                "`%` is the remainder of a division and needs a number on its right",
            );
            return Err(problem.hint("a percentage is written `percent(1)`").into());
        }
        let right = self.climb(operator.strength() + 1)?;
        let span = left.span.to(right.span);
        finished(Kind::Binary { operator, left, right }, span)
    }

    fn ends_an_operand(&self) -> bool {
        match self.peek() {
            None => true,
            Some(Token::Symbol(symbol)) => !matches!(
                symbol,
                Symbol::ParenOpen | Symbol::BracketOpen | Symbol::BraceOpen | Symbol::Minus | Symbol::Not
            ),
            Some(_) => false,
        }
    }

    fn prefix(&mut self) -> Parsed {
        match self.peek() {
            Some(Token::Symbol(Symbol::Not)) => self.prefixed(Kind::Not),
            Some(Token::Symbol(Symbol::Minus)) => match self.negative()? {
                Some(literal) => self.postfixes(literal),
                None => self.prefixed(Kind::Negate),
            },
            _ => {
                let start = self.here();
                let mut primary = self.primary()?;
                // Parentheses belong to the place of what they hold.
                primary.span = start.to(self.behind());
                self.postfixes(primary)
            }
        }
    }

    fn prefixed(&mut self, kind: fn(Box<Node>) -> Kind) -> Parsed {
        let start = self.here();
        self.at += 1;
        self.enter()?;
        let operand = self.prefix()?;
        self.depth -= 1;
        let span = start.to(operand.span);
        finished(kind(operand), span)
    }

    /// A minus directly before digits is part of the number, so that the smallest integer can be written.
    fn negative(&mut self) -> Result<Option<Box<Node>>, Box<Problem>> {
        let start = self.here();
        let Some((token, end)) = self.tokens.get(self.at + 1) else {
            return Ok(None);
        };
        let span = start.to(*end);
        let literal = match token {
            Token::Int(digits) => Kind::Int(0i64.checked_sub_unsigned(*digits).ok_or_else(|| too_large(span))?),
            Token::Double(digits) => Kind::Double(-digits),
            _ => return Ok(None),
        };
        self.at += 2;
        Ok(Some(Node::new(literal, span).into()))
    }

    fn postfixes(&mut self, mut of: Box<Node>) -> Parsed {
        loop {
            of = if self.takes(Symbol::Dot) {
                self.member(of)?
            } else if self.takes(Symbol::BracketOpen) {
                self.index(of)?
            } else {
                return Ok(of);
            };
        }
    }

    fn index(&mut self, of: Box<Node>) -> Parsed {
        let at = self.expression()?;
        self.expect(Symbol::BracketClose, "behind the index")?;
        let span = of.span.to(self.behind());
        finished(Kind::Index { of, at }, span)
    }

    fn member(&mut self, of: Box<Node>) -> Parsed {
        let Some(Token::Name(name)) = self.peek() else {
            return Err(self.unexpected("a field or method name"));
        };
        let field = Label {
            text: name.as_str().into(),
            span: self.here(),
        };
        if matches!(&*field.text, "in" | "true" | "false" | "null") {
            let problem = Problem::new(field.span, format!("`{}` cannot be a field name", field.text));
            return Err(problem.hint(format!("write `[\"{}\"]`", field.text)).into());
        }
        self.at += 1;
        if !self.takes(Symbol::ParenOpen) {
            let span = of.span.to(field.span);
            return finished(Kind::Select { of, field }, span);
        }
        let arguments = self.list(Symbol::ParenClose, "behind the arguments")?;
        let span = of.span.to(self.behind());
        match Fold::named(&field.text) {
            Some(fold) => finished(folded(of, fold, &field, arguments)?, span),
            None => {
                let receiver = Some(of);
                finished(
                    Kind::Call {
                        receiver,
                        function: field,
                        arguments,
                    },
                    span,
                )
            }
        }
    }

    fn list(&mut self, end: Symbol, place: &str) -> Result<Vec<Node>, Box<Problem>> {
        let mut items = Vec::new();
        loop {
            // CEL allows one comma behind the last element of a list, but not behind the last argument.
            if (items.is_empty() || end != Symbol::ParenClose) && self.takes(end) {
                return Ok(items);
            }
            items.push(*self.expression()?);
            if !self.takes(Symbol::Comma) {
                self.expect(end, place)?;
                return Ok(items);
            }
        }
    }

    fn entries(&mut self) -> Result<Vec<(Node, Node)>, Box<Problem>> {
        let mut entries = Vec::new();
        while !self.takes(Symbol::BraceClose) {
            let key = self.expression()?;
            self.expect(Symbol::Colon, "between key and value")?;
            entries.push((*key, *self.expression()?));
            if !self.takes(Symbol::Comma) {
                self.expect(Symbol::BraceClose, "behind the entries of the map")?;
                break;
            }
        }
        Ok(entries)
    }

    fn primary(&mut self) -> Parsed {
        let start = self.here();
        if self.takes(Symbol::ParenOpen) {
            let inner = self.expression()?;
            self.expect(Symbol::ParenClose, "to close the parenthesis")?;
            return Ok(inner);
        }
        let kind = if self.takes(Symbol::BracketOpen) {
            Kind::List(self.list(Symbol::BracketClose, "behind the elements of the list")?)
        } else if self.takes(Symbol::BraceOpen) {
            Kind::Map(self.entries()?)
        } else {
            self.word()?
        };
        finished(kind, start.to(self.behind()))
    }

    /// A literal, a name, or a call by name.
    fn word(&mut self) -> Result<Kind, Box<Problem>> {
        let span = self.here();
        let kind = match self.peek() {
            Some(Token::Int(digits)) => Kind::Int(i64::try_from(*digits).map_err(|_| too_large(span))?),
            Some(Token::Uint(number)) => Kind::Uint(*number),
            Some(Token::Double(number)) => Kind::Double(*number),
            Some(Token::Text(text)) => Kind::Text(text.as_str().into()),
            Some(Token::Name(name)) => match name.as_str() {
                "true" => Kind::Bool(true),
                "false" => Kind::Bool(false),
                "null" => Kind::Null,
                word if RESERVED.contains(&word) => {
                    return Err(Problem::new(span, format!("`{word}` is a reserved word and cannot be a name")).into());
                }
                name => Kind::Name(Arc::from(name)),
            },
            Some(Token::Symbol(_)) | None => return Err(self.unexpected("a value")),
        };
        self.at += 1;
        match kind {
            Kind::Name(text) if self.takes(Symbol::ParenOpen) => {
                let arguments = self.list(Symbol::ParenClose, "behind the arguments")?;
                Ok(called(Label { text, span }, arguments)?)
            }
            kind => Ok(kind),
        }
    }
}

/// Chains like `a + b + c` nest without the parser recursing, so the height is asked of the finished node as well.
fn finished(kind: Kind, span: Span) -> Parsed {
    let node = Node::new(kind, span);
    if node.height > EXPRESSION_DEPTH_MAX {
        Err(too_deep(span).into())
    } else {
        Ok(node.into())
    }
}

fn too_deep(span: Span) -> Problem {
    Problem::new(
        span,
        format!("the expression is nested more than {EXPRESSION_DEPTH_MAX} levels deep"),
    )
}

fn too_large(span: Span) -> Problem {
    Problem::new(span, "the integer does not fit into 64 bits").hint("write it with a fraction, as a number")
}
