//! What a tag turned out to be: regions that are given the same image by its tag must run the same content.

use meridian_workflows::plan::{NodeKind, RegionId};
use meridian_workflows::workflow::Release;

use super::state::{Life, RegionLife, RegionState, Run};

impl Run {
    /// Whether a region is to be looked at once more, now that its candidate stands: only a look tells what the tag turned out to
    /// be. A release that names its content, or that no other region is given, has nothing to differ from.
    pub(in crate::run) fn is_unresolved(&self, id: RegionId) -> bool {
        let region = self.region(id);
        let Some(order) = region.order.as_ref().filter(|order| order.settled_at.is_some()) else {
            return false;
        };
        let stands_open = order.node.is_some_and(|node| {
            self.plan.node(node).kind == NodeKind::Open { first: true } && self.node(node).life == Life::Moving
        });
        stands_open
            && region.life == RegionLife::Open
            && region.resolved.is_none()
            && self.siblings(id).next().is_some()
    }

    /// What has to be decided by a person before the region goes on: elsewhere the same tag is other content.
    pub(in crate::run) fn disagreement(&self, id: RegionId) -> Option<String> {
        let resolved = self.region(id).resolved.as_ref()?;
        if resolved.is_accepted {
            return None;
        }
        let ours = resolved.digest.as_ref()?;
        let (other, theirs) = self
            .siblings(id)
            .filter_map(|other| Some((other, content(self.region(other))?)))
            .find(|(_, theirs)| *theirs != ours)?;
        let tag = tagged(self.release(id))?;
        let (name, other) = (self.plan.region(id).0, self.plan.region(other).0);
        Some(format!("{tag} is {ours} in {name}, and {theirs} in {other}"))
    }

    /// Other regions that are given the same image by the same tag.
    fn siblings(&self, id: RegionId) -> impl Iterator<Item = RegionId> + '_ {
        let ours = tagged(self.release(id));
        self.plan
            .region_ids()
            .filter(move |other| *other != id && ours.is_some() && tagged(self.release(*other)) == ours)
    }

    fn release(&self, id: RegionId) -> &Release {
        let (_, region) = self.plan.region(id);
        region.release.as_ref().unwrap_or(&self.plan.workflow().release)
    }
}

/// The content that a region serves or is about to serve; what was taken back binds nobody.
fn content(region: &RegionState) -> Option<&String> {
    let counts = matches!(region.life, RegionLife::Open | RegionLife::Promoted);
    region.resolved.as_ref().filter(|_| counts)?.digest.as_ref()
}

/// An image's own name and its tag, as in `shop:v2`: regions may have registries of their own. None where the content is named.
fn tagged(release: &Release) -> Option<&str> {
    match release {
        Release::Image(image) if !image.contains('@') => image.rsplit('/').next(),
        Release::Image(_) | Release::Package { .. } | Release::TaskDefinition(_) | Release::Flag(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Ending;
    use super::super::signal::Request;
    use super::super::state::{Life, Standing};
    use super::super::stories::approve;
    use super::super::story::{Story, secs, submitted, workflow};

    const TWO: &[(&str, &[&str])] = &[("first", &["west"]), ("second", &["east"])];

    fn released(digests: &[(&str, &str)], release: &str) -> Story {
        let mut workflow = workflow(TWO, &["100%"]);
        workflow.release = meridian_workflows::workflow::Release::Image(release.to_owned());
        let mut story = submitted(workflow);
        let told = digests
            .iter()
            .map(|(region, digest)| ((*region).to_owned(), (*digest).to_owned()));
        story.digests = told.collect();
        story
    }

    const MOVED: &[(&str, &str)] = &[("west", "sha256:aa"), ("east", "sha256:bb")];

    #[test]
    fn a_tag_that_is_other_content_in_the_next_region_asks_before_any_traffic_and_goes_on_when_told() {
        let mut story = released(MOVED, "registry.example.com/app:v2");
        story.live(secs(2_000));
        let open = story.id("open:second/east");
        let question = story.run.node(open).question.clone().unwrap();
        assert_eq!(question.why, "app:v2 is sha256:bb in east, and sha256:aa in west");
        assert!(
            story
                .run
                .region(story.run.plan().find_region("east").unwrap())
                .ordered_share()
                .is_zero()
        );
        story.ask("bo", &[], approve()).unwrap();
        story.until("stage:second/east/100%", Life::Passed);
    }

    #[test]
    fn a_no_takes_everything_back() {
        let mut story = released(MOVED, "app:v2");
        story.live(secs(2_000));
        story
            .ask(
                "bo",
                &[],
                Request::Reject {
                    gate: None,
                    node: None,
                    comment: None,
                },
            )
            .unwrap();
        story.live(secs(200));
        let Standing::Finished { ending, cause, .. } = story.standing() else {
            panic!("the run goes on: {:?}", story.standing());
        };
        assert_eq!(
            (*ending, cause.as_str()),
            (Ending::RolledBack, "content/open:second/east: rejected by bo")
        );
    }

    #[test]
    fn the_platforms_deadline_does_not_run_while_a_person_thinks() {
        let mut story = released(MOVED, "app:v2");
        story.live(secs(40_000));
        let open = story.id("open:second/east");
        assert!(story.run.node(open).question.is_some());
        story
            .ask(
                "bo",
                &[],
                Request::Pause {
                    freeze_bake: false,
                    reason: None,
                },
            )
            .unwrap();
        story.ask("bo", &[], approve()).unwrap();
        story.ask("bo", &[], Request::Resume).unwrap();
        story.until("stage:second/east/100%", Life::Passed);
    }

    #[test]
    fn the_same_content_or_none_that_is_told_asks_nobody() {
        for digests in [
            &[("west", "sha256:aa"), ("east", "sha256:aa")][..],
            &[("west", "sha256:aa")],
            &[],
        ] {
            let mut story = released(digests, "app:v2");
            story.until("close:second/east", Life::Passed);
        }
    }

    #[test]
    fn a_release_that_names_its_content_is_not_looked_up_again() {
        let mut story = released(MOVED, "app@sha256:aa");
        story.until("close:second/east", Life::Passed);
    }
}
