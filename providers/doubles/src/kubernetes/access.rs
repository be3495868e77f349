//! Who may do what: bearer tokens, each with a user's rules.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kubernetes::call::{Call, Resource};
use crate::kubernetes::object::text;
use crate::kubernetes::refusal::Refusal;

/// What a user may do: `*` stands for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verbs: Vec<String>,
    /// API groups; the core group is the empty text.
    pub groups: Vec<String>,
    /// Plurals, with a subresource after a slash: `deployments`, `pods/log`.
    pub resources: Vec<String>,
    /// Namespaces where the rule holds; for kinds without one only `*` counts.
    pub namespaces: Vec<String>,
}

impl Rule {
    /// A rule from words parted by commas.
    pub fn new(verbs: &str, groups: &str, resources: &str, namespaces: &str) -> Self {
        let list = |text: &str| text.split(',').map(|word| word.trim().to_owned()).collect();
        Rule {
            verbs: list(verbs),
            groups: list(groups),
            resources: list(resources),
            namespaces: list(namespaces),
        }
    }

    fn allows(&self, verb: &str, group: &str, resource: &str, namespace: &str) -> bool {
        let has = |list: &[String], word: &str| list.iter().any(|one| one == "*" || one == word);
        has(&self.verbs, verb)
            && has(&self.groups, group)
            && has(&self.resources, resource)
            && has(&self.namespaces, if namespace.is_empty() { "*" } else { namespace })
    }
}

/// The known tokens; while there are none, everybody may do everything.
#[derive(Debug, Default)]
pub(crate) struct Access {
    pub(crate) users: BTreeMap<String, (String, Vec<Rule>)>,
}

impl Access {
    /// The user behind a call; `None` where nobody needs to say who they are.
    fn user(&self, call: &Call) -> Result<Option<&(String, Vec<Rule>)>, Refusal> {
        if self.users.is_empty() {
            return Ok(None);
        }
        match call.token.as_ref().and_then(|token| self.users.get(token)) {
            Some(user) => Ok(Some(user)),
            None => Err(Refusal::unauthorized()),
        }
    }

    /// # Errors
    /// 401 without a known token, 403 where the user's rules do not allow the call.
    pub(crate) fn check(&self, call: &Call, verb: &str, resource: Option<&Resource>) -> Result<(), Refusal> {
        let Some((user, rules)) = self.user(call)? else {
            return Ok(());
        };
        let Some(resource) = resource else { return Ok(()) };
        let kind = resource.kind;
        let what = match resource.subresource.as_str() {
            "" => kind.plural.to_owned(),
            part => format!("{}/{part}", kind.plural),
        };
        if rules
            .iter()
            .any(|rule| rule.allows(verb, kind.group, &what, &resource.namespace))
        {
            return Ok(());
        }
        let place = if resource.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{}\"", resource.namespace)
        };
        let about = if resource.name.is_empty() {
            kind.qualified_plural()
        } else {
            format!("{} \"{}\"", kind.qualified_plural(), resource.name)
        };
        let mut details = json!({"kind": kind.plural});
        if !resource.name.is_empty() {
            details["name"] = json!(resource.name);
        }
        if !kind.group.is_empty() {
            details["group"] = json!(kind.group);
        }
        Err(Refusal {
            code: 403,
            reason: "Forbidden",
            message: format!(
                "{about} is forbidden: User \"{user}\" cannot {verb} resource \"{what}\" in API group \"{}\" {place}",
                kind.group
            ),
            details,
        })
    }

    /// Answers a `SelfSubjectAccessReview`.
    ///
    /// # Errors
    /// 401 without a known token.
    pub(crate) fn review(&self, call: &Call, mut review: Value) -> Result<Value, Refusal> {
        let user = self.user(call)?;
        let asked = &review["spec"]["resourceAttributes"];
        let what = match text(asked, "/subresource") {
            "" => text(asked, "/resource").to_owned(),
            part => format!("{}/{part}", text(asked, "/resource")),
        };
        let allowed = user.is_none_or(|(_, rules)| {
            rules.iter().any(|rule| {
                rule.allows(
                    text(asked, "/verb"),
                    text(asked, "/group"),
                    &what,
                    text(asked, "/namespace"),
                )
            })
        });
        review["kind"] = json!("SelfSubjectAccessReview");
        review["apiVersion"] = json!("authorization.k8s.io/v1");
        if !review["metadata"].is_object() {
            review["metadata"] = json!({});
        }
        review["status"] = json!({"allowed": allowed});
        Ok(review)
    }
}
