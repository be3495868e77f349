//! What callers ask of tasks: list, describe, stop one.

use serde_json::{Value, json};

use crate::aws::members::Members;
use crate::aws::paging::page;
use crate::aws::refusal::Refusal;
use crate::ecs::service_calls::service_not_found;
use crate::ecs::state::State;
use crate::ecs::task::{Stop, Task};

/// Tasks in one `DescribeTasks` request.
const TASKS_MAX: usize = 100;

impl State {
    pub(super) fn list_tasks(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let cluster = self.cluster(asked.text("cluster")?.as_deref())?;
        let (family, service) = (asked.text("family")?, asked.text("serviceName")?);
        let (started_by, launch) = (asked.text("startedBy")?, asked.text("launchType")?);
        let status = asked.one_of("desiredStatus", &["RUNNING", "PENDING", "STOPPED"])?;
        let token = asked.text("nextToken")?;
        let size = self.page_size(&mut asked, 100, 100)?;
        asked.done()?;
        if started_by.is_some() && (family.is_some() || service.is_some()) {
            return Err(Refusal::parameter("startedBy must be the only filter."));
        }
        if let Some(service) = &service {
            let known = self
                .services
                .iter()
                .any(|known| known.facts.name == *service || known.facts.arn == *service);
            if !known {
                return Err(service_not_found());
            }
        }
        let fits = |task: &&Task| {
            task.cluster == cluster.arn
                && match status.as_deref() {
                    None | Some("RUNNING") => task.wanted,
                    Some("STOPPED") => !task.wanted,
                    Some(_) => false,
                }
                && service
                    .as_ref()
                    .is_none_or(|service| task.service_name == *service || task.service == *service)
                && started_by.as_ref().is_none_or(|pool| task.pool == *pool)
                && launch.as_ref().is_none_or(|launch| task.launch_type == *launch)
                && family.as_ref().is_none_or(|family| {
                    self.world
                        .definition(&task.definition)
                        .is_some_and(|known| known.family == *family)
                })
        };
        let arns: Vec<String> = self
            .world
            .tasks
            .iter()
            .filter(fits)
            .map(|task| task.arn.clone())
            .collect();
        let page = page(&arns, String::clone, token.as_deref(), size)?;
        let mut answer = json!({"taskArns": page.items});
        if let Some(next) = page.next {
            answer["nextToken"] = json!(next);
        }
        Ok(answer)
    }

    pub(super) fn describe_tasks(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let cluster = self.cluster(asked.text("cluster")?.as_deref())?;
        let names = asked.texts("tasks")?.unwrap_or_default();
        let include = asked.texts("include")?.unwrap_or_default();
        asked.done()?;
        if names.is_empty() || names.len() > TASKS_MAX {
            return Err(Refusal::parameter(format!(
                "Tasks must have 1 to {TASKS_MAX} elements."
            )));
        }
        let zone = self.world.zone();
        let (mut tasks, mut failures) = (Vec::new(), Vec::new());
        for name in names {
            let found = self
                .world
                .tasks
                .iter()
                .find(|task| task.cluster == cluster.arn && (task.id == name || task.arn == name));
            match found {
                Some(task) => {
                    let mut shown = task.shown(&zone);
                    if include.iter().any(|word| word == "TAGS") {
                        shown["tags"] = self.tags_shown(&task.arn);
                    }
                    tasks.push(shown);
                }
                None => {
                    let path = format!("task/{}/{name}", cluster.name);
                    let arn = if name.starts_with("arn:") {
                        name
                    } else {
                        self.world.arn(&path)
                    };
                    failures.push(json!({"arn": arn, "reason": "MISSING"}));
                }
            }
        }
        Ok(json!({"tasks": tasks, "failures": failures}))
    }

    pub(super) fn stop_task(&mut self, mut asked: Members) -> Result<Value, Refusal> {
        let cluster = self.cluster(asked.text("cluster")?.as_deref())?;
        let name = asked.needs("task")?;
        let reason = asked
            .text("reason")?
            .unwrap_or_else(|| "Task stopped by user".to_owned());
        asked.done()?;
        let (now, zone) = (self.world.now, self.world.zone());
        let mut tasks = self.world.tasks.iter_mut().filter(|task| task.cluster == cluster.arn);
        let found = tasks.find(|task| task.id == name || task.arn == name);
        let task = found.ok_or_else(|| Refusal::parameter("The referenced task was not found."))?;
        let stop = Stop {
            code: "UserInitiated",
            reason,
            exit: Some(0),
            container: None,
            failed: false,
        };
        task.stop(stop, now);
        Ok(json!({"task": task.shown(&zone)}))
    }
}
