//! Objects with their versions, and everything that happened to them, for those who watch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::kubernetes::kind::Kind;

/// How many changes a watch may lag behind before it is told to start again.
const REMEMBERED: usize = 20_000;

/// Where an object stands: kind (with its group), namespace (empty where the kind has none), name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Place {
    pub(crate) fn new(kind: &Kind, namespace: &str, name: &str) -> Self {
        Place {
            kind: kind.qualified_plural(),
            namespace: if kind.namespaced {
                namespace.to_owned()
            } else {
                String::new()
            },
            name: name.to_owned(),
        }
    }
}

/// One thing that happened to one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) place: Place,
    pub(crate) before: Option<Arc<Value>>,
    /// `None`: it was deleted.
    pub(crate) after: Option<Arc<Value>>,
}

/// All objects of a cluster. They are shared, not copied: every controller looks at all of them ten times a second of the cluster's time.
#[derive(Debug)]
pub(crate) struct Store {
    objects: BTreeMap<Place, Arc<Value>>,
    version: u64,
    changes: VecDeque<Change>,
    /// Changes up to this version are forgotten.
    forgotten: u64,
}

impl Store {
    pub(crate) fn new() -> Self {
        Store {
            objects: BTreeMap::new(),
            version: 1000,
            changes: VecDeque::new(),
            forgotten: 1000,
        }
    }

    /// The version of the last change to anything.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn get(&self, place: &Place) -> Option<&Value> {
        self.objects.get(place).map(Arc::as_ref)
    }

    /// The objects of a kind, in one namespace or, with an empty name, in all, ordered by namespace and name.
    pub(crate) fn list(&self, kind: &Kind, namespace: &str) -> impl Iterator<Item = (&Place, &Value)> {
        self.shared(kind, namespace)
            .map(|(place, object)| (place, object.as_ref()))
    }

    /// The same, to be kept while the store goes on.
    pub(crate) fn shared(&self, kind: &Kind, namespace: &str) -> impl Iterator<Item = (&Place, &Arc<Value>)> {
        let first = Place {
            kind: kind.qualified_plural(),
            namespace: namespace.to_owned(),
            name: String::new(),
        };
        let (plural, namespace) = (first.kind.clone(), namespace.to_owned());
        self.objects.range(first..).take_while(move |(place, _)| {
            place.kind == plural && (namespace.is_empty() || place.namespace == namespace)
        })
    }

    /// Every object of every kind.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Place, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Stores an object under the next version, which it then carries; gives it back.
    pub(crate) fn put(&mut self, place: Place, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let stored = Arc::new(object.clone());
        let before = self.objects.insert(place.clone(), Arc::clone(&stored));
        self.note(place, before, Some(stored));
        object
    }

    /// Takes an object away; gives back how it stood, with the version of its end.
    pub(crate) fn remove(&mut self, place: &Place) -> Option<Value> {
        let mut object = Arc::unwrap_or_clone(self.objects.remove(place)?);
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.note(place.clone(), Some(Arc::new(object.clone())), None);
        Some(object)
    }

    fn note(&mut self, place: Place, before: Option<Arc<Value>>, after: Option<Arc<Value>>) {
        self.changes.push_back(Change {
            version: self.version,
            place,
            before,
            after,
        });
        while self.changes.len() > REMEMBERED {
            self.forgotten = self.changes.pop_front().map_or(self.forgotten, |change| change.version);
        }
    }

    /// Forgets what happened so far, as etcd does when it is compacted: older watches end with 410.
    pub(crate) fn compact(&mut self) {
        self.forgotten = self.version;
        self.changes.clear();
    }

    /// What happened after that version; `None` where that is partly forgotten.
    pub(crate) fn changes_after(&self, version: u64) -> Option<impl Iterator<Item = &Change>> {
        if version < self.forgotten {
            return None;
        }
        let from = self.changes.partition_point(|change| change.version <= version);
        Some(self.changes.range(from..))
    }
}
