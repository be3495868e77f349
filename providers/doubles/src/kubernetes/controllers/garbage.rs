//! What goes when something else goes: dependents after their owners, and everything in a namespace with it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::kubernetes::kind::{KINDS, Kind};
use crate::kubernetes::object::{flag, is_deleting, items, name, place, text, uid};
use crate::kubernetes::store::Place;
use crate::kubernetes::world::{Farewell, World};

fn kind_at(place: &Place) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.qualified_plural() == place.kind)
}

pub(super) fn collect(world: &mut World) {
    let owned: Vec<(Place, Arc<Value>)> = world
        .store
        .all()
        .filter(|(_, object)| !items(object, "/metadata/ownerReferences").is_empty())
        .map(|(place, object)| (place.clone(), Arc::clone(object)))
        .collect();
    let ending: Vec<(Place, Arc<Value>)> = world
        .store
        .all()
        .filter(|(_, object)| is_deleting(object) && !items(object, "/metadata/finalizers").is_empty())
        .map(|(place, object)| (place.clone(), Arc::clone(object)))
        .collect();
    for (place, object) in &ending {
        end(world, place, object, &owned);
    }
    for (place, object) in &owned {
        orphaned(world, place, object);
    }
    namespaces(world);
}

/// Lets an owner go that waits for its dependents, or for letting go of them.
fn end(world: &mut World, at: &Place, owner: &Value, owned: &[(Place, Arc<Value>)]) {
    let Some(kind) = kind_at(at) else { return };
    let has = |finalizer: &str| items(owner, "/metadata/finalizers").iter().any(|one| one == finalizer);
    let mine = |object: &Value| {
        items(object, "/metadata/ownerReferences")
            .iter()
            .any(|reference| text(reference, "/uid") == uid(owner))
    };
    let dependents: Vec<&(Place, Arc<Value>)> = owned.iter().filter(|(_, object)| mine(object)).collect();
    if has("orphan") {
        for (place, object) in &dependents {
            let Some(kind) = kind_at(place) else { continue };
            world.modify(kind, object, |object| {
                if let Some(list) = object["metadata"]["ownerReferences"].as_array_mut() {
                    list.retain(|reference| text(reference, "/uid") != uid(owner));
                }
            });
        }
        without_finalizer(world, kind, owner, "orphan");
    } else if has("foregroundDeletion") {
        let blocking = dependents.iter().filter(|(_, object)| {
            items(object, "/metadata/ownerReferences")
                .iter()
                .any(|reference| text(reference, "/uid") == uid(owner) && flag(reference, "/blockOwnerDeletion"))
        });
        if blocking.count() == 0 {
            without_finalizer(world, kind, owner, "foregroundDeletion");
        }
        for (place, object) in &dependents {
            if let (Some(kind), false) = (kind_at(place), is_deleting(object)) {
                let policy = "Foreground".to_owned();
                let _ = world.delete(
                    kind,
                    place,
                    &Farewell {
                        policy,
                        ..Farewell::default()
                    },
                );
            }
        }
    }
}

fn without_finalizer(world: &mut World, kind: &'static Kind, object: &Value, finalizer: &str) {
    world.modify(kind, object, |object| {
        if let Some(list) = object["metadata"]["finalizers"].as_array_mut() {
            list.retain(|one| one != finalizer);
        }
    });
}

/// Deletes a dependent none of whose owners is there any more.
fn orphaned(world: &mut World, at: &Place, object: &Value) {
    let Some(kind) = kind_at(at) else { return };
    let alive = items(object, "/metadata/ownerReferences").iter().any(|reference| {
        let group = text(reference, "/apiVersion")
            .split_once('/')
            .map_or("", |(group, _)| group);
        let owner = KINDS
            .iter()
            .find(|kind| kind.group == group && kind.kind == text(reference, "/kind"));
        // An owner of a kind that is not served here cannot be shown to be gone.
        owner.is_none_or(|owner| {
            world
                .get(owner, &at.namespace, text(reference, "/name"))
                .is_some_and(|found| uid(found) == text(reference, "/uid"))
        })
    });
    if !alive && !is_deleting(object) && world.store.get(at).is_some() {
        let _ = world.delete(kind, at, &Farewell::default());
    }
}

/// Empties namespaces that are on their way out; the last step is their own.
fn namespaces(world: &mut World) {
    let kind = Kind::named("Namespace");
    for namespace in world
        .objects("Namespace", "")
        .into_iter()
        .filter(|namespace| is_deleting(namespace))
    {
        let inside: Vec<Place> = world
            .store
            .all()
            .filter(|(place, _)| place.namespace == name(&namespace))
            .map(|(place, _)| place.clone())
            .collect();
        if inside.is_empty() {
            let at = place(kind, &namespace);
            let mut last = Value::clone(&namespace);
            last["spec"]["finalizers"] = json!([]);
            if items(&last, "/metadata/finalizers").is_empty() {
                world.store.remove(&at);
            }
            continue;
        }
        for at in inside {
            if let Some(kind) = kind_at(&at).filter(|_| !world.store.get(&at).is_some_and(is_deleting)) {
                let _ = world.delete(kind, &at, &Farewell::default());
            }
        }
    }
}
