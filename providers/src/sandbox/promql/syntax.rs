//! The tree of a query, its types, and the one list of functions that are known.

use super::matcher::Matcher;

/// The type of an expression, named as Prometheus names it in its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar,
    Text,
    Vector,
    Range,
}

impl Kind {
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Text => "string",
            Self::Vector => "instant vector",
            Self::Range => "range vector",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Expr {
    Number(f64),
    Text(String),
    Vector(Selector),
    Range(Selector, i64),
    Negate {
        id: usize,
        of: Box<Expr>,
    },
    Call {
        id: usize,
        function: Function,
        arguments: Vec<Expr>,
    },
    Aggregate(Box<Aggregate>),
    Binary(Box<Binary>),
}

impl Expr {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Number(_) => Kind::Scalar,
            Self::Text(_) => Kind::Text,
            Self::Vector(_) | Self::Aggregate(_) => Kind::Vector,
            Self::Range(..) => Kind::Range,
            Self::Negate { of, .. } => of.kind(),
            Self::Call { function, .. } => function.gives(),
            Self::Binary(binary) => match (binary.left.kind(), binary.right.kind()) {
                (Kind::Scalar, Kind::Scalar) => Kind::Scalar,
                _ => Kind::Vector,
            },
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Selector {
    /// Its place in the evaluation's list of selected series.
    pub id: usize,
    pub matchers: Vec<Matcher>,
    /// How far back it looks, in milliseconds; negative looks ahead.
    pub offset: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Aggregate {
    pub operator: Aggregator,
    pub grouping: Grouping,
    pub parameter: Option<Expr>,
    pub of: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregator {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Topk,
    Bottomk,
    Quantile,
}

impl Aggregator {
    const ALL: [(&str, Self); 9] = [
        ("sum", Self::Sum),
        ("avg", Self::Avg),
        ("min", Self::Min),
        ("max", Self::Max),
        ("count", Self::Count),
        ("group", Self::Group),
        ("topk", Self::Topk),
        ("bottomk", Self::Bottomk),
        ("quantile", Self::Quantile),
    ];

    pub(super) fn named(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word))
            .map(|(_, aggregator)| *aggregator)
    }

    pub(super) fn has_parameter(self) -> bool {
        matches!(self, Self::Topk | Self::Bottomk | Self::Quantile)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Grouping {
    By(Vec<String>),
    Without(Vec<String>),
}

#[derive(Clone, Debug)]
pub(super) struct Binary {
    pub operator: Operator,
    /// `bool`: answer 0 or 1 instead of filtering.
    pub is_bool: bool,
    pub matching: Matching,
    pub left: Expr,
    pub right: Expr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Matching {
    pub labels: Labelling,
    pub cardinality: Cardinality,
}

/// Which labels decide that two elements belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Labelling {
    On(Vec<String>),
    Ignoring(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cardinality {
    OneToOne,
    /// `group_left`: many on the left; these labels come from the one on the right.
    ManyToOne(Vec<String>),
    /// `group_right`: many on the right.
    OneToMany(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Unless,
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

impl Operator {
    const ALL: [(&str, Self); 15] = [
        ("or", Self::Or),
        ("and", Self::And),
        ("unless", Self::Unless),
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<", Self::Less),
        ("<=", Self::AtMost),
        (">", Self::Greater),
        (">=", Self::AtLeast),
        ("+", Self::Add),
        ("-", Self::Subtract),
        ("*", Self::Multiply),
        ("/", Self::Divide),
        ("%", Self::Modulo),
        ("^", Self::Power),
    ];

    pub(super) fn written(sign: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(text, _)| text.eq_ignore_ascii_case(sign))
            .map(|(_, operator)| *operator)
    }

    pub(super) fn sign(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, operator)| *operator == self)
            .map_or("", |(text, _)| text)
    }

    pub(super) fn is_set(self) -> bool {
        matches!(self, Self::Or | Self::And | Self::Unless)
    }

    pub(super) fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::NotEqual | Self::Less | Self::AtMost | Self::Greater | Self::AtLeast
        )
    }

    /// Higher binds tighter.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Equal | Self::NotEqual | Self::Less | Self::AtMost | Self::Greater | Self::AtLeast => 3,
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide | Self::Modulo => 5,
            Self::Power => 6,
        }
    }

    pub(super) fn is_right_associative(self) -> bool {
        self == Self::Power
    }
}

/// A unary sign binds as tight as multiplication: `-a ^ b` is `-(a ^ b)` and `-a * b` is `(-a) * b`.
pub(super) const UNARY_PRECEDENCE: u8 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    Absent,
    AvgOverTime,
    Ceil,
    Changes,
    Clamp,
    ClampMax,
    ClampMin,
    CountOverTime,
    Delta,
    Deriv,
    Exp,
    Floor,
    HistogramQuantile,
    Idelta,
    Increase,
    Irate,
    LastOverTime,
    Ln,
    MaxOverTime,
    MinOverTime,
    PredictLinear,
    Rate,
    Resets,
    Scalar,
    Sgn,
    Sqrt,
    SumOverTime,
    Time,
    Vector,
}

impl Function {
    const ALL: [(&str, Self, &[Kind], Kind); 30] = {
        const ELEMENTS: &[Kind] = &[Kind::Vector];
        const WINDOW: &[Kind] = &[Kind::Range];
        const BOUNDED: &[Kind] = &[Kind::Vector, Kind::Scalar];
        [
            ("abs", Self::Abs, ELEMENTS, Kind::Vector),
            ("absent", Self::Absent, ELEMENTS, Kind::Vector),
            ("avg_over_time", Self::AvgOverTime, WINDOW, Kind::Vector),
            ("ceil", Self::Ceil, ELEMENTS, Kind::Vector),
            ("changes", Self::Changes, WINDOW, Kind::Vector),
            (
                "clamp",
                Self::Clamp,
                &[Kind::Vector, Kind::Scalar, Kind::Scalar],
                Kind::Vector,
            ),
            ("clamp_max", Self::ClampMax, BOUNDED, Kind::Vector),
            ("clamp_min", Self::ClampMin, BOUNDED, Kind::Vector),
            ("count_over_time", Self::CountOverTime, WINDOW, Kind::Vector),
            ("delta", Self::Delta, WINDOW, Kind::Vector),
            ("deriv", Self::Deriv, WINDOW, Kind::Vector),
            ("exp", Self::Exp, ELEMENTS, Kind::Vector),
            ("floor", Self::Floor, ELEMENTS, Kind::Vector),
            (
                "histogram_quantile",
                Self::HistogramQuantile,
                &[Kind::Scalar, Kind::Vector],
                Kind::Vector,
            ),
            ("idelta", Self::Idelta, WINDOW, Kind::Vector),
            ("increase", Self::Increase, WINDOW, Kind::Vector),
            ("irate", Self::Irate, WINDOW, Kind::Vector),
            ("last_over_time", Self::LastOverTime, WINDOW, Kind::Vector),
            ("ln", Self::Ln, ELEMENTS, Kind::Vector),
            ("max_over_time", Self::MaxOverTime, WINDOW, Kind::Vector),
            ("min_over_time", Self::MinOverTime, WINDOW, Kind::Vector),
            (
                "predict_linear",
                Self::PredictLinear,
                &[Kind::Range, Kind::Scalar],
                Kind::Vector,
            ),
            ("rate", Self::Rate, WINDOW, Kind::Vector),
            ("resets", Self::Resets, WINDOW, Kind::Vector),
            ("scalar", Self::Scalar, ELEMENTS, Kind::Scalar),
            ("sgn", Self::Sgn, ELEMENTS, Kind::Vector),
            ("sqrt", Self::Sqrt, ELEMENTS, Kind::Vector),
            ("sum_over_time", Self::SumOverTime, WINDOW, Kind::Vector),
            ("time", Self::Time, &[], Kind::Scalar),
            ("vector", Self::Vector, &[Kind::Scalar], Kind::Vector),
        ]
    };

    /// Function names are case-sensitive, unlike keywords.
    pub(super) fn named(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(name, ..)| *name == word)
            .map(|(_, function, ..)| *function)
    }

    fn row(self) -> &'static (&'static str, Self, &'static [Kind], Kind) {
        Self::ALL
            .iter()
            .find(|(_, function, ..)| *function == self)
            .expect("every function has its row, a test holds it")
    }

    pub(super) fn takes(self) -> &'static [Kind] {
        self.row().2
    }

    fn gives(self) -> Kind {
        self.row().3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_list_is_complete_and_sorted() {
        // `Vector` is the last variant: the list has as many rows as there are variants, each once.
        assert_eq!(Function::ALL.len(), Function::Vector as usize + 1);
        assert!(Function::ALL.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (index, (name, function, ..)) in Function::ALL.iter().enumerate() {
            assert_eq!(*function as usize, index);
            assert_eq!(Function::named(name), Some(*function));
        }
    }
}
