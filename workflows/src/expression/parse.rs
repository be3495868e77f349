//! From tokens to the tree: a Pratt parser that bounds length and depth before it spends stack on them.

use std::sync::Arc;

use crate::expression::macros::{called, folded};
use crate::expression::problem::{Problem, Span};
use crate::expression::token::{Lexer, Symbol, Token};
use crate::expression::tree::{Fold, Kind, Label, Node, Operator};
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
    "true",
    "false",
    "null",
];

/// Reads a whole expression. Every unreadable token is reported, and the first place where the grammar is broken.
pub(crate) fn parse(source: &str) -> Result<Node, Vec<Problem>> {
    if source.len() > EXPRESSION_BYTES_MAX {
        let span = Span::new(0, source.len());
        return Err(vec![Problem::new(
            span,
            format!("the expression is longer than {EXPRESSION_BYTES_MAX} bytes"),
        )]);
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
    parser.whole().map_err(|problem| vec![problem])
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

type Parsed = Result<Node, Problem>;

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn here(&self) -> Span {
        self.tokens
            .get(self.at)
            .map_or(Span::new(self.end, self.end), |(_, span)| *span)
    }

    fn behind(&self) -> Span {
        self.at
            .checked_sub(1)
            .and_then(|before| self.tokens.get(before))
            .map_or(Span::default(), |(_, span)| *span)
    }

    fn takes(&mut self, symbol: Symbol) -> bool {
        let is_next = self.peek() == Some(&Token::Symbol(symbol));
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, symbol: Symbol, place: &str) -> Result<(), Problem> {
        if self.takes(symbol) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{}` {place}", symbol.text())))
        }
    }

    fn unexpected(&self, wanted: &str) -> Problem {
        let Some(token) = self.peek() else {
            return Problem::new(self.here(), format!("expected {wanted}, but the expression ends here"));
        };
        let problem = Problem::new(self.here(), format!("expected {wanted}, found {}", token.description()));
        match token {
            Token::Name(name) => match &**name {
                "and" | "AND" => problem.hint("`and` is written `&&`"),
                "or" | "OR" => problem.hint("`or` is written `||`"),
                "not" | "NOT" => problem.hint("`not` is written `!`"),
                _ => problem,
            },
            _ => problem,
        }
    }

    fn whole(&mut self) -> Parsed {
        let root = self.expression()?;
        match self.peek() {
            None => Ok(root),
            Some(_) => Err(self.unexpected("an operator or the end")),
        }
    }

    /// Runs one more level of recursion, or refuses it.
    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.depth >= EXPRESSION_DEPTH_MAX {
            return Err(too_deep(self.here()));
        }
        self.depth += 1;
        let node = inner(self);
        self.depth -= 1;
        node
    }

    fn expression(&mut self) -> Parsed {
        self.deeper(Self::choice)
    }

    fn choice(&mut self) -> Parsed {
        let condition = self.either()?;
        if !self.takes(Symbol::Question) {
            return Ok(condition);
        }
        let then = self.either()?;
        self.expect(Symbol::Colon, "between the two branches of `?`")?;
        let otherwise = self.expression()?;
        let span = condition.span.to(otherwise.span);
        finished(
            Kind::Choice {
                condition: Box::new(condition),
                then: Box::new(then),
                otherwise: Box::new(otherwise),
            },
            span,
        )
    }

    fn either(&mut self) -> Parsed {
        self.chain(Symbol::Or, Self::both, Kind::Or)
    }

    fn both(&mut self) -> Parsed {
        self.chain(Symbol::And, |parser| parser.binary(4), Kind::And)
    }

    fn chain(&mut self, symbol: Symbol, term: fn(&mut Self) -> Parsed, kind: fn(Vec<Node>) -> Kind) -> Parsed {
        let first = term(self)?;
        if self.peek() != Some(&Token::Symbol(symbol)) {
            return Ok(first);
        }
        let mut span = first.span;
        let mut terms = vec![first];
        while self.takes(symbol) {
            let next = term(self)?;
            span = span.to(next.span);
            terms.push(next);
        }
        finished(kind(terms), span)
    }

    fn operator(&self) -> Option<Operator> {
        Some(match self.peek()? {
            Token::Name(name) if name == "in" => Operator::In,
            Token::Symbol(symbol) => match symbol {
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
        })
    }

    /// Operators that bind at least as tight as `weakest`, to the left.
    fn binary(&mut self, weakest: u8) -> Parsed {
        let mut left = self.prefix()?;
        while let Some(operator) = self.operator().filter(|operator| operator.strength() >= weakest) {
            let place = self.here();
            self.at += 1;
            if operator == Operator::Remainder && self.ends_an_operand() {
                return Err(Problem::new(
                    place,
                    "`%` is the remainder of a division and needs a number on its right",
                )
                .hint("a percentage is written `percent(1)`"));
            }
            let right = self.binary(operator.strength() + 1)?;
            let span = left.span.to(right.span);
            left = finished(
                Kind::Binary {
                    operator,
                    left: Box::new(left),
                    right: Box::new(right),
                },
                span,
            )?;
        }
        Ok(left)
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
        let start = self.here();
        if self.takes(Symbol::Not) {
            let operand = self.deeper(Self::prefix)?;
            let span = start.to(operand.span);
            return finished(Kind::Not(Box::new(operand)), span);
        }
        if !self.takes(Symbol::Minus) {
            return self.postfix(start);
        }
        // A minus directly before digits is part of the number, so that the smallest integer can be written.
        let literal = match self.peek() {
            Some(Token::Int(digits)) => {
                let Some(number) = 0i64.checked_sub_unsigned(*digits) else {
                    return Err(too_large(start.to(self.here())));
                };
                Kind::Int(number)
            }
            Some(Token::Double(digits)) => Kind::Double(-digits),
            _ => {
                let operand = self.deeper(Self::prefix)?;
                let span = start.to(operand.span);
                return finished(Kind::Negate(Box::new(operand)), span);
            }
        };
        let span = start.to(self.here());
        self.at += 1;
        self.postfixes(Node::new(literal, span))
    }

    fn postfix(&mut self, start: Span) -> Parsed {
        let mut primary = self.primary()?;
        primary.span = start.to(self.behind());
        self.postfixes(primary)
    }

    fn postfixes(&mut self, mut of: Node) -> Parsed {
        loop {
            if self.takes(Symbol::Dot) {
                of = self.member(of)?;
            } else if self.takes(Symbol::BracketOpen) {
                let at = self.expression()?;
                self.expect(Symbol::BracketClose, "behind the index")?;
                let span = of.span.to(self.behind());
                of = finished(
                    Kind::Index {
                        of: Box::new(of),
                        at: Box::new(at),
                    },
                    span,
                )?;
            } else {
                return Ok(of);
            }
        }
    }

    fn member(&mut self, of: Node) -> Parsed {
        let Some(Token::Name(name)) = self.peek().cloned() else {
            return Err(self.unexpected("a field or method name"));
        };
        let field = Label {
            text: name.into(),
            span: self.here(),
        };
        if matches!(&*field.text, "in" | "true" | "false" | "null") {
            return Err(
                Problem::new(field.span, format!("`{}` cannot be a field name", field.text))
                    .hint(format!("write `[\"{}\"]`", field.text)),
            );
        }
        self.at += 1;
        if !self.takes(Symbol::ParenOpen) {
            let span = of.span.to(field.span);
            return finished(
                Kind::Select {
                    of: Box::new(of),
                    field,
                },
                span,
            );
        }
        let arguments = self.list(Symbol::ParenClose, "behind the arguments")?;
        let span = of.span.to(self.behind());
        match Fold::named(&field.text) {
            Some(fold) => finished(folded(of, fold, &field, arguments)?, span),
            None => finished(
                Kind::Call {
                    receiver: Some(Box::new(of)),
                    function: field,
                    arguments,
                },
                span,
            ),
        }
    }

    fn list(&mut self, end: Symbol, place: &str) -> Result<Vec<Node>, Problem> {
        let mut items = Vec::new();
        loop {
            // CEL allows one comma behind the last element of a list, but not behind the last argument.
            if (items.is_empty() || end != Symbol::ParenClose) && self.takes(end) {
                return Ok(items);
            }
            items.push(self.expression()?);
            if !self.takes(Symbol::Comma) {
                self.expect(end, place)?;
                return Ok(items);
            }
        }
    }

    fn entries(&mut self) -> Result<Vec<(Node, Node)>, Problem> {
        let mut entries = Vec::new();
        while !self.takes(Symbol::BraceClose) {
            let key = self.expression()?;
            self.expect(Symbol::Colon, "between key and value")?;
            entries.push((key, self.expression()?));
            if !self.takes(Symbol::Comma) {
                self.expect(Symbol::BraceClose, "behind the entries of the map")?;
                break;
            }
        }
        Ok(entries)
    }

    fn primary(&mut self) -> Parsed {
        let span = self.here();
        let Some(token) = self.peek().cloned() else {
            return Err(self.unexpected("a value"));
        };
        if let Token::Symbol(symbol) = &token
            && !matches!(symbol, Symbol::ParenOpen | Symbol::BracketOpen | Symbol::BraceOpen)
        {
            return Err(self.unexpected("a value"));
        }
        self.at += 1;
        let kind = match token {
            Token::Int(digits) => Kind::Int(i64::try_from(digits).map_err(|_| too_large(span))?),
            Token::Uint(number) => Kind::Uint(number),
            Token::Double(number) => Kind::Double(number),
            Token::Text(text) => Kind::Text(text.into()),
            Token::Name(name) => return self.named(&name, span),
            Token::Symbol(Symbol::ParenOpen) => {
                let inner = self.expression()?;
                self.expect(Symbol::ParenClose, "to close the parenthesis")?;
                return Ok(inner);
            }
            Token::Symbol(Symbol::BracketOpen) => {
                Kind::List(self.list(Symbol::BracketClose, "behind the elements of the list")?)
            }
            Token::Symbol(_) => Kind::Map(self.entries()?),
        };
        finished(kind, span.to(self.behind()))
    }

    fn named(&mut self, name: &str, span: Span) -> Parsed {
        let kind = match name {
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            "null" => Kind::Null,
            _ if RESERVED.contains(&name) => {
                return Err(Problem::new(
                    span,
                    format!("`{name}` is a reserved word and cannot be a name"),
                ));
            }
            _ if self.takes(Symbol::ParenOpen) => {
                let arguments = self.list(Symbol::ParenClose, "behind the arguments")?;
                let function = Label {
                    text: name.into(),
                    span,
                };
                let span = span.to(self.behind());
                return finished(called(function, arguments)?, span);
            }
            _ => Kind::Name(Arc::from(name)),
        };
        Ok(Node::new(kind, span))
    }
}

/// Chains like `a + b + c` nest without the parser recursing, so the height is asked of the finished node as well.
fn finished(kind: Kind, span: Span) -> Parsed {
    let node = Node::new(kind, span);
    if node.height > EXPRESSION_DEPTH_MAX {
        Err(too_deep(span))
    } else {
        Ok(node)
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
