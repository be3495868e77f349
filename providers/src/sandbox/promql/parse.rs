//! The grammar: tokens become a typed tree, or one refusal that says where and why.

mod operator;
mod selector;

use super::syntax::{Aggregator, Expr, Function, Kind, Operator, UNARY_PRECEDENCE};
use super::token::{Misread, Token, tokens};

/// How deep a tree may be: evaluation recurses, and a written query is never near this.
const DEPTH_MAX: usize = 100;
/// How long a query may be, in bytes.
const QUERY_MAX: usize = 64 * 1024;

/// A query that is understood.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub root: Expr,
    /// How many ids the tree uses; they count from 0.
    pub ids: usize,
}

/// A subtree and its depth, carried along because a chain of operators nests without recursion of the parser.
type Tree = (Expr, usize);

pub(super) fn parse(query: &str) -> Result<Query, Misread> {
    if query.len() > QUERY_MAX {
        return Err(Misread::new(0, format!("the query is longer than {QUERY_MAX} bytes")));
    }
    let mut parser = Parser {
        tokens: tokens(query)?,
        at: 0,
        ids: 0,
        nesting: 0,
    };
    if *parser.peek() == Token::End {
        return Err(Misread::new(0, "no expression found in input"));
    }
    let (root, _) = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(Query { root, ids: parser.ids }),
        other => Err(parser.misread(format!("unexpected {}", other.describe()))),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    ids: usize,
    nesting: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].1
    }

    fn peek_after(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].1
    }

    fn take(&mut self) -> Token {
        let token = self.tokens[self.at].1.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(next) if *next == sign);
        if found {
            self.take();
        }
        found
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = self.is_keyword(keyword);
        if found {
            self.take();
        }
        found
    }

    fn is_keyword(&self, keyword: &str) -> bool {
        matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn expect(&mut self, sign: &str, context: &str) -> Result<(), Misread> {
        if self.take_sign(sign) {
            return Ok(());
        }
        Err(self.misread(format!(
            "unexpected {} in {context}, expected `{sign}`",
            self.peek().describe()
        )))
    }

    fn misread(&self, message: impl Into<String>) -> Misread {
        Misread::new(self.tokens[self.at].0, message)
    }

    fn id(&mut self) -> usize {
        self.ids += 1;
        self.ids - 1
    }

    fn bounded(&self, depth: usize) -> Result<usize, Misread> {
        if depth > DEPTH_MAX {
            return Err(self.misread(format!("the query nests deeper than {DEPTH_MAX} levels")));
        }
        Ok(depth)
    }

    /// Operators that bind at least as tight as `tightness`.
    fn expression(&mut self, tightness: u8) -> Result<Tree, Misread> {
        self.nesting = self.bounded(self.nesting + 1)?;
        let (mut left, mut depth) = self.unary()?;
        while let Some(operator) = self.operator().filter(|operator| operator.precedence() >= tightness) {
            let place = self.tokens[self.at].0;
            self.take();
            let is_bool = self.take_keyword("bool");
            let matching = self.matching()?;
            let next = operator.precedence() + u8::from(!operator.is_right_associative());
            let (right, right_depth) = self.expression(next)?;
            depth = self.bounded(depth.max(right_depth) + 1)?;
            left = Self::binary(place, operator, is_bool, matching, left, right)?;
        }
        self.nesting -= 1;
        Ok((left, depth))
    }

    fn operator(&self) -> Option<Operator> {
        match self.peek() {
            Token::Sign(sign) => Operator::written(sign),
            Token::Word(word) => Operator::written(word),
            Token::Number(_) | Token::Duration(_) | Token::Text(_) | Token::End => None,
        }
    }

    fn unary(&mut self) -> Result<Tree, Misread> {
        let place = self.tokens[self.at].0;
        let is_minus = match self.peek() {
            Token::Sign("-") => true,
            Token::Sign("+") => false,
            _ => return self.operand(),
        };
        self.take();
        let (of, depth) = self.expression(UNARY_PRECEDENCE + 1)?;
        if !matches!(of.kind(), Kind::Scalar | Kind::Vector) {
            let kind = of.kind().describe();
            return Err(Misread::new(
                place,
                format!("unary expression only allowed on expressions of type scalar or instant vector, got {kind:?}"),
            ));
        }
        let depth = self.bounded(depth + 1)?;
        Ok(if is_minus {
            (
                Expr::Negate {
                    id: self.id(),
                    of: Box::new(of),
                },
                depth,
            )
        } else {
            (of, depth)
        })
    }

    fn operand(&mut self) -> Result<Tree, Misread> {
        let tree = match self.peek().clone() {
            Token::Number(number) => {
                self.take();
                (Expr::Number(number), 1)
            }
            Token::Text(text) => {
                self.take();
                (Expr::Text(text), 1)
            }
            Token::Sign("(") => {
                self.take();
                let inner = self.expression(0)?;
                self.expect(")", "parentheses")?;
                inner
            }
            Token::Sign("{") => return self.selector(None),
            Token::Word(word) => return self.named(&word),
            other => return Err(self.misread(format!("unexpected {}", other.describe()))),
        };
        self.no_modifier()?;
        Ok(tree)
    }

    /// Ranges and offsets belong to selectors only.
    fn no_modifier(&self) -> Result<(), Misread> {
        if matches!(self.peek(), Token::Sign("[")) {
            return Err(self.misread("ranges are only allowed after a selector (subqueries are not supported)"));
        }
        if self.is_keyword("offset") {
            return Err(
                self.misread("offset modifier must be preceded by an instant vector selector or range vector selector")
            );
        }
        if matches!(self.peek(), Token::Sign("@")) {
            return Err(self.misread("the @ modifier is not supported"));
        }
        Ok(())
    }

    fn named(&mut self, word: &str) -> Result<Tree, Misread> {
        const RESERVED: [&str; 12] = [
            "and",
            "or",
            "unless",
            "atan2",
            "by",
            "without",
            "on",
            "ignoring",
            "group_left",
            "group_right",
            "offset",
            "bool",
        ];
        if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(word)) {
            return Err(self.misread(format!("unexpected keyword `{word}`")));
        }
        let is_call = matches!(self.peek_after(), Token::Sign("("));
        let is_grouped = matches!(self.peek_after(), Token::Word(next)
            if next.eq_ignore_ascii_case("by") || next.eq_ignore_ascii_case("without"));
        if !is_call && !is_grouped {
            return self.selector(Some(word));
        }
        let tree = if let Some(aggregator) = Aggregator::named(word) {
            self.aggregate(aggregator)?
        } else if is_call {
            self.call(word)?
        } else {
            return self.selector(Some(word));
        };
        self.no_modifier()?;
        Ok(tree)
    }

    fn call(&mut self, name: &str) -> Result<Tree, Misread> {
        let place = self.tokens[self.at].0;
        let Some(function) = Function::named(name) else {
            return Err(Misread::new(
                place,
                format!("unknown or unsupported function with name {name:?}"),
            ));
        };
        self.take();
        let (arguments, depth) = self.arguments(name)?;
        let takes = function.takes();
        if arguments.len() != takes.len() {
            return Err(Misread::new(
                place,
                format!(
                    "expected {} argument(s) in call to {name:?}, got {}",
                    takes.len(),
                    arguments.len()
                ),
            ));
        }
        for (argument, kind) in arguments.iter().zip(takes) {
            expect_kind(place, argument, *kind, &format!("call to function {name:?}"))?;
        }
        Ok((
            Expr::Call {
                id: self.id(),
                function,
                arguments,
            },
            self.bounded(depth + 1)?,
        ))
    }

    fn arguments(&mut self, context: &str) -> Result<(Vec<Expr>, usize), Misread> {
        self.expect("(", context)?;
        let mut arguments = Vec::new();
        let mut depth = 0;
        if self.take_sign(")") {
            return Ok((arguments, depth));
        }
        loop {
            let (argument, argument_depth) = self.expression(0)?;
            arguments.push(argument);
            depth = depth.max(argument_depth);
            if self.take_sign(")") {
                return Ok((arguments, depth));
            }
            self.expect(",", context)?;
        }
    }
}

fn expect_kind(place: usize, expr: &Expr, wanted: Kind, context: &str) -> Result<(), Misread> {
    let found = expr.kind();
    if found == wanted {
        return Ok(());
    }
    Err(Misread::new(
        place,
        format!(
            "expected type {} in {context}, got {}",
            wanted.describe(),
            found.describe()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree in fully parenthesised form.
    fn shape(expr: &Expr) -> String {
        match expr {
            Expr::Number(number) => number.to_string(),
            Expr::Negate { of, .. } => format!("-({})", shape(of)),
            Expr::Binary(binary) => {
                format!(
                    "({} {} {})",
                    shape(&binary.left),
                    binary.operator.sign(),
                    shape(&binary.right)
                )
            }
            other => format!("{:?}", other.kind()),
        }
    }

    #[test]
    fn operators_bind_as_in_prometheus() {
        let cases = [
            ("1 + 2 * 3 ^ 2", "(1 + (2 * (3 ^ 2)))"),
            ("2 ^ 3 ^ 2", "(2 ^ (3 ^ 2))"),
            ("-1 ^ 2", "-((1 ^ 2))"),
            ("2 ^ -1 * 3", "((2 ^ -(1)) * 3)"),
            ("-1 * 2", "(-(1) * 2)"),
            ("1 - 2 - 3", "((1 - 2) - 3)"),
            ("1 - -2", "(1 - -(2))"),
            ("1 == bool 2 + 3", "(1 == (2 + 3))"),
            ("a or b and c", "(Vector or (Vector and Vector))"),
            ("a unless b and c", "((Vector unless Vector) and Vector)"),
        ];
        for (query, expected) in cases {
            assert_eq!(shape(&parse(query).unwrap().root), expected, "{query}");
        }
    }

    #[test]
    fn what_is_outside_the_subset_is_refused_with_a_reason() {
        let cases = [
            ("", "no expression found"),
            ("rate(a[5m:1m])", "subqueries"),
            ("(a)[5m:1m]", "subqueries"),
            ("sum(a)[5m:1m]", "subqueries"),
            ("a @ 5", "@ modifier"),
            ("rate(a[5m] @ 5)", "@ modifier"),
            ("label_replace(a, \"b\", \"c\", \"d\", \"e\")", "unsupported function"),
            ("count_values(\"a\", b)", "unsupported function"),
            ("stddev(a)", "unsupported function"),
            ("a atan2 b", "unexpected `atan2`"),
            ("rate(a)", "expected type range vector"),
            ("rate(a[5m], 1)", "expected 1 argument(s)"),
            ("sum(1)", "expected type instant vector"),
            ("topk(a)", "wrong number of arguments"),
            ("{}", "non-empty matcher"),
            ("{job=~\".*\"}", "non-empty matcher"),
            ("a{__name__=\"b\"}", "must not be set twice"),
            ("a{b=\"c\" d=\"e\"}", "expected `,`"),
            ("a{b=c}", "needs one of"),
            ("a[5m] offset 0s", "greater than 0"),
            ("a[0s]", "greater than 0"),
            ("a[300]", "expected duration"),
            ("a offset 5m [1m]", "only allowed after a selector"),
            ("a offset 5m offset 1m", "offset modifier must be preceded"),
            ("1 == 2", "must use BOOL"),
            ("1 + bool 2", "bool modifier"),
            ("1 and 2", "set operator"),
            ("a and on(b) group_left c", "no grouping"),
            ("a * on(b) group_left(b) c", "ON and GROUP"),
            ("a + on(b) 1", "between instant vectors"),
            ("a + \"b\"", "only scalar and instant vector"),
            ("-\"b\"", "unary expression"),
            ("a b", "unexpected `b`"),
            ("sum(a) by (b) by (c)", "unexpected `by`"),
            ("(a", "expected `)`"),
            ("by", "unexpected keyword"),
            ("a =", "unexpected `=`"),
        ];
        for (query, expected) in cases {
            let message = parse(query).map(|query| format!("{query:?}")).unwrap_err().message;
            assert!(message.contains(expected), "{query}: {message}");
        }
    }

    #[test]
    fn a_deep_or_long_query_is_refused_before_it_can_hurt() {
        for query in [
            format!("{}1{}", "(".repeat(200), ")".repeat(200)),
            "-".repeat(10_000) + "1",
            "1 + ".repeat(200) + "1",
            "1 ^ ".repeat(10_000) + "1",
            format!("{}a{}", "abs(".repeat(101), ")".repeat(101)),
        ] {
            assert!(parse(&query).unwrap_err().message.contains("nests deeper"));
        }
        assert!(parse(&" ".repeat(100_000)).unwrap_err().message.contains("longer than"));
        assert!(parse(&("1 + ".repeat(90) + "1")).is_ok());
    }
}
