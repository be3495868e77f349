//! The grammar of aggregations and of what stands around a binary operator: grouping, matching, and which types go together.

use super::{Parser, Tree, expect_kind};
use crate::sandbox::promql::labels::is_label_name;
use crate::sandbox::promql::syntax::{
    Aggregate, Aggregator, Binary, Cardinality, Expr, Grouping, Kind, Labelling, Matching, Operator,
};
use crate::sandbox::promql::token::{Misread, Token};

impl Parser {
    pub(super) fn aggregate(&mut self, operator: Aggregator) -> Result<Tree, Misread> {
        let place = self.tokens[self.at].0;
        self.take();
        let before = self.grouping()?;
        let (mut arguments, depth) = self.arguments("aggregation")?;
        let grouping = match before {
            Some(grouping) => Some(grouping),
            None => self.grouping()?,
        };
        let wanted = if operator.has_parameter() { 2 } else { 1 };
        if arguments.len() != wanted {
            return Err(Misread::new(
                place,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {wanted}, got {}",
                    arguments.len()
                ),
            ));
        }
        let of = arguments
            .pop()
            .ok_or_else(|| Misread::new(place, "no arguments for aggregate expression provided"))?;
        let parameter = arguments.pop();
        expect_kind(place, &of, Kind::Vector, "aggregation expression")?;
        if let Some(parameter) = &parameter {
            expect_kind(place, parameter, Kind::Scalar, "aggregation parameter")?;
        }
        let grouping = grouping.unwrap_or_else(|| Grouping::By(Vec::new()));
        Ok((
            Expr::Aggregate(Box::new(Aggregate {
                operator,
                grouping,
                parameter,
                of,
            })),
            self.bounded(depth + 1)?,
        ))
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, Misread> {
        if self.take_keyword("by") {
            return Ok(Some(Grouping::By(self.label_names()?)));
        }
        if self.take_keyword("without") {
            return Ok(Some(Grouping::Without(self.label_names()?)));
        }
        Ok(None)
    }

    fn label_names(&mut self) -> Result<Vec<String>, Misread> {
        self.expect("(", "grouping opts")?;
        let mut names = Vec::new();
        while !self.take_sign(")") {
            match self.peek() {
                Token::Word(word) if is_label_name(word) => names.push(word.clone()),
                other => {
                    return Err(self.misread(format!(
                        "unexpected {} in grouping opts, expected label",
                        other.describe()
                    )));
                }
            }
            self.take();
            if !matches!(self.peek(), Token::Sign(")")) {
                self.expect(",", "grouping opts")?;
            }
        }
        Ok(names)
    }

    pub(super) fn matching(&mut self) -> Result<Option<Matching>, Misread> {
        let labels = if self.take_keyword("on") {
            Labelling::On(self.label_names()?)
        } else if self.take_keyword("ignoring") {
            Labelling::Ignoring(self.label_names()?)
        } else {
            return Ok(None);
        };
        let is_left = self.take_keyword("group_left");
        if !is_left && !self.take_keyword("group_right") {
            return Ok(Some(Matching {
                labels,
                cardinality: Cardinality::OneToOne,
            }));
        }
        let place = self.tokens[self.at].0;
        let include = if matches!(self.peek(), Token::Sign("(")) {
            self.label_names()?
        } else {
            Vec::new()
        };
        if let Labelling::On(on) = &labels
            && let Some(twice) = include.iter().find(|label| on.contains(label))
        {
            return Err(Misread::new(
                place,
                format!("label {twice:?} must not occur in ON and GROUP clause at once"),
            ));
        }
        let cardinality = if is_left {
            Cardinality::ManyToOne(include)
        } else {
            Cardinality::OneToMany(include)
        };
        Ok(Some(Matching { labels, cardinality }))
    }

    pub(super) fn binary(
        place: usize,
        operator: Operator,
        is_bool: bool,
        matching: Option<Matching>,
        left: Expr,
        right: Expr,
    ) -> Result<Expr, Misread> {
        let refused = |message: String| Err(Misread::new(place, message));
        for side in [&left, &right] {
            if !matches!(side.kind(), Kind::Scalar | Kind::Vector) {
                return refused("binary expression must contain only scalar and instant vector types".to_owned());
            }
        }
        let scalars = [&left, &right]
            .iter()
            .filter(|side| side.kind() == Kind::Scalar)
            .count();
        if is_bool && !operator.is_comparison() {
            return refused("bool modifier can only be used on comparison operators".to_owned());
        }
        if scalars == 2 && operator.is_comparison() && !is_bool {
            return refused("comparisons between scalars must use BOOL modifier".to_owned());
        }
        if scalars > 0 && operator.is_set() {
            return refused(format!(
                "set operator {:?} not allowed in binary scalar expression",
                operator.sign()
            ));
        }
        if scalars > 0 && matching.is_some() {
            return refused("vector matching only allowed between instant vectors".to_owned());
        }
        let matching = matching.unwrap_or(Matching {
            labels: Labelling::Ignoring(Vec::new()),
            cardinality: Cardinality::OneToOne,
        });
        if operator.is_set() && matching.cardinality != Cardinality::OneToOne {
            return refused(format!("no grouping allowed for {:?} operation", operator.sign()));
        }
        Ok(Expr::Binary(Box::new(Binary {
            operator,
            is_bool,
            matching,
            left,
            right,
        })))
    }
}
