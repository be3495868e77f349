//! The macros over lists and maps, evaluated element by element.

use std::sync::Arc;

use crate::expression::evaluation::{Error, Evaluated, Evaluation, Fault, absorbable};
use crate::expression::term::Term;
use crate::expression::tree::Fold;
use crate::expression::value::{Key, Value};

impl Evaluation<'_> {
    pub(crate) fn fold(&mut self, over: &Term, fold: Fold, filter: Option<&Term>, body: &Term) -> Evaluated {
        let items = match self.term(over)? {
            Value::List(items) => items,
            Value::Map(entries) => {
                self.spend(entries.len(), over.span)?;
                Arc::new(entries.keys().map(Key::value).collect())
            }
            other => return Err(Fault::mismatch("a list or a map", &other).at(over.span)),
        };
        let (mut kept, mut failure, mut count) = (Vec::new(), None, 0usize);
        for item in items.iter() {
            self.locals.push(item.clone());
            let step = self.step(item, fold, filter, body, &mut kept);
            self.locals.pop();
            match (fold, step) {
                (Fold::All, Ok(false)) => return Ok(Value::Bool(false)),
                (Fold::Exists, Ok(true)) => return Ok(Value::Bool(true)),
                (_, Ok(is_true)) => count += usize::from(is_true),
                (Fold::All | Fold::Exists, Err(error)) => failure = Some(absorbable(error, failure)?),
                (Fold::ExistsOne | Fold::Filter | Fold::Map, Err(error)) => return Err(error),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        Ok(match fold {
            Fold::All => Value::Bool(true),
            Fold::Exists => Value::Bool(false),
            Fold::ExistsOne => Value::Bool(count == 1),
            Fold::Filter | Fold::Map => Value::List(Arc::new(kept)),
        })
    }

    /// One element; whether its condition holds.
    fn step(
        &mut self,
        item: &Value,
        fold: Fold,
        filter: Option<&Term>,
        body: &Term,
        kept: &mut Vec<Value>,
    ) -> Result<bool, Error> {
        self.spend(1, body.span)?;
        if let Some(filter) = filter
            && !self.condition(filter)?
        {
            return Ok(false);
        }
        if fold == Fold::Map {
            kept.push(self.term(body)?);
            return Ok(true);
        }
        let is_true = self.condition(body)?;
        if fold == Fold::Filter && is_true {
            kept.push(item.clone());
        }
        Ok(is_true)
    }
}
