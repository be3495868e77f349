//! What a query of Azure Monitor says: `total(Http5xx) / total(Requests) of /subscriptions/… where Instance eq 'a'`.

use crate::metric::unit::Told;

/// One metric in one aggregation, or such a metric divided by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub over: Term,
    pub under: Option<Term>,
    pub resource: Option<String>,
    /// OData, as Azure Monitor reads it.
    pub filter: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    pub aggregation: Aggregation,
    pub metric: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    Average,
    Total,
    Minimum,
    Maximum,
    Count,
}

impl Aggregation {
    const ALL: [Aggregation; 5] = [
        Aggregation::Average,
        Aggregation::Total,
        Aggregation::Minimum,
        Aggregation::Maximum,
        Aggregation::Count,
    ];

    /// As it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Aggregation::Average => "Average",
            Aggregation::Total => "Total",
            Aggregation::Minimum => "Minimum",
            Aggregation::Maximum => "Maximum",
            Aggregation::Count => "Count",
        }
    }

    /// As it is answered.
    pub fn field(self) -> &'static str {
        match self {
            Aggregation::Average => "average",
            Aggregation::Total => "total",
            Aggregation::Minimum => "minimum",
            Aggregation::Maximum => "maximum",
            Aggregation::Count => "count",
        }
    }

    /// The unit of this aggregation of a metric whose unit Azure Monitor tells.
    pub fn told(self, unit: &str) -> Told {
        if self == Aggregation::Count {
            return Told::Count;
        }
        match unit {
            "Seconds" => Told::Seconds(1.0),
            "MilliSeconds" => Told::Seconds(0.001),
            "Bytes" => Told::Bytes(1.0),
            "Percent" => Told::Percent,
            "Count" => Told::Count,
            "CountPerSecond" => Told::PerSecond,
            "Unspecified" | "" => Told::Unsaid,
            other => Told::Other(other.to_owned()),
        }
    }
}

impl Question {
    /// *Errors*: what is not understood, and what would be.
    pub fn read(query: &str) -> Result<Question, String> {
        let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
        let (rest, filter) = match query.split_once(" where ") {
            Some((rest, filter)) => (rest, Some(filter.trim().to_owned())),
            None => (query.as_str(), None),
        };
        let (terms, named) = match rest.split_once(" of ") {
            Some((terms, named)) => (terms, Some(named.trim())),
            None => (rest, None),
        };
        let (over, under) = match terms.split_once(") /") {
            Some((over, under)) => (term(&format!("{over})"))?, Some(term(under)?)),
            None => (term(terms)?, None),
        };
        if let Some(named) = named {
            resource(named).map_err(|why| format!("the query's resource {why}"))?;
        }
        Ok(Question {
            over,
            under,
            resource: named.map(str::to_owned),
            filter,
        })
    }

    pub fn terms(&self) -> impl Iterator<Item = &Term> {
        std::iter::once(&self.over).chain(&self.under)
    }
}

/// `total(Http5xx)`.
fn term(text: &str) -> Result<Term, String> {
    let unread = || {
        format!(
            "the query's `{}` is not understood; write it like `average(HttpResponseTime)`, or `total(Http5xx) / total(Requests)`, with one of \
             average, total, minimum, maximum and count",
            text.trim()
        )
    };
    let inner = text.trim().strip_suffix(')').and_then(|text| text.split_once('('));
    let (name, metric) = inner.ok_or_else(unread)?;
    let known = Aggregation::ALL.into_iter();
    let aggregation = known.into_iter().find(|known| known.field() == name.trim());
    // A comma would name two metrics, and parentheses another term.
    let metric = metric.trim();
    if metric.is_empty() || metric.contains([',', '(', ')']) {
        return Err(unread());
    }
    Ok(Term {
        aggregation: aggregation.ok_or_else(unread)?,
        metric: metric.to_owned(),
    })
}

/// Whether a text can be a resource's id.
///
/// *Errors*: a phrase that says why not.
pub fn resource(id: &str) -> Result<(), String> {
    let is_plain = |segment: &str| !segment.is_empty() && segment != "." && segment != "..";
    let fits = id.starts_with("/subscriptions/")
        && id.split('/').skip(1).all(is_plain)
        && !id.contains(['?', '#', '%', '\\'])
        && !id.contains(char::is_whitespace);
    if fits {
        Ok(())
    } else {
        Err(format!("is an id such as `/subscriptions/…/sites/shop`, got `{id}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Aggregation, Question, Term, resource};

    #[test]
    fn a_query_is_a_metric_or_a_quotient_of_two() {
        let term = |aggregation, metric: &str| Term {
            aggregation,
            metric: metric.to_owned(),
        };
        assert_eq!(
            Question::read("average(HttpResponseTime)"),
            Ok(Question {
                over: term(Aggregation::Average, "HttpResponseTime"),
                under: None,
                resource: None,
                filter: None
            })
        );
        assert_eq!(
            Question::read("total(Http5xx) / total(Requests)\n of /subscriptions/a/b\n where Instance eq 'x of y'\n"),
            Ok(Question {
                over: term(Aggregation::Total, "Http5xx"),
                under: Some(term(Aggregation::Total, "Requests")),
                resource: Some("/subscriptions/a/b".into()),
                filter: Some("Instance eq 'x of y'".into())
            })
        );
        for bad in [
            "",
            "Http5xx",
            "sum(Http5xx)",
            "total()",
            "total(a, b)",
            "total(a) / ",
            "total(a) / total(b) / total(c)",
            "total(a) of b",
        ] {
            assert!(Question::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_cannot_lead_elsewhere() {
        resource("/subscriptions/1/resourceGroups/g/providers/Microsoft.Web/sites/shop/slots/next").unwrap();
        for bad in [
            "",
            "shop",
            "/subscriptions/../x",
            "/subscriptions/a?b",
            "/subscriptions//x",
        ] {
            assert!(resource(bad).is_err(), "{bad}");
        }
    }
}
