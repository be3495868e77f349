//! A site and its slot over Azure Resource Manager: what is read of them and what they are told.
//!
//! Paths, verbs and field names are those of Microsoft's published description of `Microsoft.Web`, version 2025-05-01.

use std::collections::BTreeMap;
use std::sync::Arc;

use azure_core::http::Method;
use meridian_engine::ports::failure::Failure;
use serde_json::{Value, json};

use crate::app_service::next::Whose;
use crate::app_service::settings::Settings;
use crate::operation::{self, Begun, Standing};
use crate::service::{Answer, Ask, Service};
use crate::trouble::{Fate, Trouble};

const API: &str = "api-version=2025-05-01";

/// Of `Microsoft.Resources/tags`, which changes single tags of any resource, also while a swap locks the site itself.
const TAGS_API: &str = "api-version=2021-04-01";

/// Pages of a list beyond this many are not asked for.
const PAGES_MAX: usize = 20;

/// A region's site and the way to it.
pub(crate) struct Site {
    service: Arc<Service>,
    pub(crate) settings: Settings,
    about: [String; 2],
}

/// What one look at a site and its slot gives, as the platform says it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) production: Half,
    pub(crate) slot: Half,
}

/// One side as shown.
#[derive(Clone, Debug)]
pub(crate) struct Half {
    /// The site or slot resource, whole.
    pub(crate) resource: Value,
    /// `properties` of its `config/web`.
    pub(crate) config: Value,
    /// Its app settings; empty where they were not needed to tell what it runs.
    pub(crate) app_settings: BTreeMap<String, String>,
}

impl Half {
    pub(crate) fn property(&self, name: &str) -> Option<&str> {
        let text = self.resource.pointer("/properties")?.get(name)?.as_str()?;
        Some(text).filter(|text| !text.is_empty())
    }

    pub(crate) fn host(&self) -> &str {
        self.property("defaultHostName").unwrap_or_default()
    }

    /// Why the platform keeps it from serving, where it does.
    pub(crate) fn suspension(&self) -> Option<String> {
        let state = self.property("state").unwrap_or_default();
        let usage = self.property("usageState").unwrap_or_default();
        let is_exceeded = usage.eq_ignore_ascii_case("exceeded") || state.eq_ignore_ascii_case("quotaexceeded");
        is_exceeded
            .then(|| "a quota of the App Service plan is used up, and the platform has suspended the app".to_owned())
    }

    /// Whether nobody has stopped it; a quota may have.
    pub(crate) fn is_running(&self) -> bool {
        let state = self.property("state").unwrap_or_default();
        !state.eq_ignore_ascii_case("stopped")
    }
}

impl Site {
    pub(crate) fn new(service: Arc<Service>, settings: Settings) -> Site {
        let about = [
            format!("the site `{}`", settings.site),
            format!("the slot `{}` of site `{}`", settings.slot, settings.site),
        ];
        Site {
            service,
            settings,
            about,
        }
    }

    fn base(&self, whose: Whose) -> String {
        match whose {
            Whose::Production => self.settings.resource(),
            Whose::Slot => format!("{}/slots/{}", self.settings.resource(), self.settings.slot),
        }
    }

    pub(crate) fn about(&self, whose: Whose) -> &str {
        match whose {
            Whose::Production => &self.about[0],
            Whose::Slot => &self.about[1],
        }
    }

    /// The permission that a request below a site or slot needs, by what ARM calls it.
    fn action(whose: Whose, tail: &str, verb: &str) -> String {
        let base = match whose {
            Whose::Production => "Microsoft.Web/sites",
            Whose::Slot => "Microsoft.Web/sites/slots",
        };
        if tail.is_empty() {
            format!("{base}/{verb}")
        } else {
            format!("{base}/{tail}/{verb}")
        }
    }

    async fn send(
        &self,
        whose: Whose,
        method: Method,
        tail: &str,
        action: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Trouble> {
        let slash = if tail.is_empty() { "" } else { "/" };
        let path = format!("{}{slash}{tail}?{API}", self.base(whose));
        let ask = Ask {
            method,
            path,
            headers: Vec::new(),
            body,
            about: self.about(whose),
            action,
        };
        self.service.ask(ask).await
    }

    pub(crate) async fn get(&self, whose: Whose, tail: &str) -> Result<Value, Trouble> {
        let kind = tail.split('/').next().unwrap_or_default();
        let action = Site::action(whose, kind, "read");
        Ok(self.send(whose, Method::Get, tail, &action, None).await?.body)
    }

    /// All items of a list, page by page, as far as its links stay at this endpoint.
    async fn list(
        &self,
        whose: Whose,
        method: Method,
        tail: &str,
        body: Option<&Value>,
    ) -> Result<Vec<Value>, Trouble> {
        let verb = if method == Method::Get { "read" } else { "action" };
        let action = Site::action(whose, tail, verb);
        let mut answer = self.send(whose, method, tail, &action, body).await?.body;
        let mut items = Vec::new();
        for _ in 0..PAGES_MAX {
            if let Some(Value::Array(page)) = answer.get_mut("value").map(Value::take) {
                items.extend(page);
            }
            let next = answer.get("nextLink").and_then(Value::as_str);
            let Some(path) = next.and_then(|link| self.service.endpoint.own_link(link)) else {
                break;
            };
            let ask = Ask {
                method,
                path,
                headers: Vec::new(),
                body,
                about: self.about(whose),
                action: &action,
            };
            answer = self.service.ask(ask).await?.body;
        }
        Ok(items)
    }

    /// Both sides as they are now. What is not understood is a failure, never a default.
    pub(crate) async fn look(&self) -> Result<Shown, Trouble> {
        let (production, slot) = tokio::try_join!(self.look_at(Whose::Production), self.look_at(Whose::Slot))?;
        Ok(Shown { production, slot })
    }

    async fn look_at(&self, whose: Whose) -> Result<Half, Trouble> {
        let (resource, config) = tokio::try_join!(self.get(whose, ""), self.get(whose, "config/web"))?;
        let unclear = |what: &str| Trouble {
            failure: Failure::transient(format!("{} answers without {what}", self.about(whose))),
            fate: Fate::Unknown,
        };
        let config = config.get("properties").filter(|properties| properties.is_object());
        let half = Half {
            resource,
            config: config.cloned().ok_or_else(|| unclear("its configuration"))?,
            app_settings: BTreeMap::new(),
        };
        if half.host().is_empty() || half.property("state").is_none() {
            return Err(unclear("its state or host name"));
        }
        // An image says what runs; only a package has to be looked up.
        let fx = self.fx(&half);
        let is_image = fx.get(..7).is_some_and(|kind| kind.eq_ignore_ascii_case("docker|"));
        let app_settings = if is_image {
            BTreeMap::new()
        } else {
            self.app_settings(whose).await?
        };
        Ok(Half { app_settings, ..half })
    }

    pub(crate) fn fx<'a>(&self, half: &'a Half) -> &'a str {
        let fx = half.config.get(self.settings.container.key()).and_then(Value::as_str);
        fx.unwrap_or_default()
    }

    pub(crate) async fn app_settings(&self, whose: Whose) -> Result<BTreeMap<String, String>, Trouble> {
        let action = Site::action(whose, "config/list", "action");
        let tail = "config/appsettings/list";
        let listed = self.send(whose, Method::Post, tail, &action, None).await?.body;
        let properties = listed.get("properties").and_then(Value::as_object);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let settings = properties.into_iter().flatten();
        Ok(settings
            .filter_map(|(name, value)| Some((name.clone(), text(value)?)))
            .collect())
    }

    /// Puts settings into a side's app settings, which the platform takes only as a whole; it restarts the app where they change.
    pub(crate) async fn set_app_settings(&self, whose: Whose, wanted: &[(&str, String)]) -> Result<(), Trouble> {
        let mut settings = self.app_settings(whose).await?;
        if wanted.iter().all(|(name, value)| settings.get(*name) == Some(value)) {
            return Ok(());
        }
        settings.extend(wanted.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let action = Site::action(whose, "config", "write");
        let body = json!({ "properties": settings });
        self.send(whose, Method::Put, "config/appsettings", &action, Some(&body))
            .await?;
        Ok(())
    }

    pub(crate) async fn set_config(&self, whose: Whose, body: &Value) -> Result<(), Trouble> {
        let action = Site::action(whose, "config", "write");
        self.send(whose, Method::Patch, "config/web", &action, Some(body))
            .await?;
        Ok(())
    }

    /// Puts these tags beside the site's others.
    pub(crate) async fn merge_tags(&self, tags: &Value) -> Result<(), Trouble> {
        let body = json!({"operation": "Merge", "properties": {"tags": tags}});
        let ask = Ask {
            method: Method::Patch,
            path: format!(
                "{}/providers/Microsoft.Resources/tags/default?{TAGS_API}",
                self.base(Whose::Production)
            ),
            headers: Vec::new(),
            body: Some(&body),
            about: self.about(Whose::Production),
            action: "Microsoft.Resources/tags/write",
        };
        self.service.ask(ask).await?;
        Ok(())
    }

    /// `start`, `stop` or `resetSlotConfig`.
    pub(crate) async fn tell(&self, whose: Whose, verb: &str) -> Result<(), Trouble> {
        let action = Site::action(whose, verb, "action");
        self.send(whose, Method::Post, verb, &action, None).await?;
        Ok(())
    }

    /// `applySlotConfig`: the slot gets production's slot settings.
    pub(crate) async fn preview(&self) -> Result<(), Trouble> {
        let action = Site::action(Whose::Slot, "applySlotConfig", "action");
        let body = self.with_production();
        self.send(Whose::Slot, Method::Post, "applySlotConfig", &action, Some(&body))
            .await?;
        Ok(())
    }

    /// `slotsswap` from the slot into production. Gives the operation that it began; none where the answer named none.
    pub(crate) async fn swap(&self) -> Result<Option<Begun>, Trouble> {
        let action = Site::action(Whose::Slot, "slotsswap", "action");
        let body = self.with_production();
        let answer = self
            .send(Whose::Slot, Method::Post, "slotsswap", &action, Some(&body))
            .await?;
        Ok(operation::begun(&self.service.endpoint, &answer))
    }

    /// Which settings a swap would change; values are left alone, because they may be secrets.
    pub(crate) async fn differences(&self) -> Result<Vec<String>, Trouble> {
        let body = self.with_production();
        let items = self.list(Whose::Slot, Method::Post, "slotsdiffs", Some(&body)).await?;
        let name = |item: &Value| Some(item.pointer("/properties/settingName")?.as_str()?.to_owned());
        Ok(items.iter().filter_map(name).collect())
    }

    fn with_production(&self) -> Value {
        json!({"targetSlot": "production", "preserveVnet": self.settings.preserve_vnet})
    }

    pub(crate) async fn instances(&self, whose: Whose) -> Result<Vec<Value>, Trouble> {
        self.list(whose, Method::Get, "instances", None).await
    }

    /// The container's log as the platform keeps it.
    pub(crate) async fn container_log(&self, whose: Whose) -> Result<String, Trouble> {
        let action = Site::action(whose, "containerlogs", "action");
        let ask = Ask {
            method: Method::Post,
            path: format!("{}/containerlogs?{API}", self.base(whose)),
            headers: Vec::new(),
            body: None,
            about: self.about(whose),
            action: &action,
        };
        self.service.ask_for_text(ask).await
    }

    /// The tier of the plan that the site runs in.
    pub(crate) async fn tier(&self, production: &Value) -> Option<String> {
        let plan = production.pointer("/properties/serverFarmId")?.as_str()?;
        let ask = Ask {
            method: Method::Get,
            path: format!("{}?{API}", self.service.endpoint.own_link(plan)?),
            headers: Vec::new(),
            body: None,
            about: "the App Service plan",
            action: "Microsoft.Web/serverfarms/read",
        };
        let plan = self.service.ask(ask).await.ok()?.body;
        Some(plan.pointer("/sku/tier")?.as_str()?.to_owned())
    }

    /// What the operation at a link says; none where the platform does not know it any more.
    pub(crate) async fn standing(&self, link: &str) -> Result<Option<Standing>, Trouble> {
        let ask = Ask {
            method: Method::Get,
            path: link.to_owned(),
            headers: Vec::new(),
            body: None,
            about: "the swap's operation",
            action: "Microsoft.Web/sites/operationresults/read",
        };
        match self.service.ask(ask).await {
            Ok(answer) => Ok(Some(operation::standing(&answer))),
            Err(trouble) if trouble.is_status(404) || trouble.is_status(410) => Ok(None),
            // `Location` gives the operation's own refusal where it failed, a conflict as a rule. Those of the way to it are none.
            Err(Trouble {
                failure,
                fate: Fate::Refused {
                    status: Some(status), ..
                },
            }) if !matches!(status, 401 | 403 | 429) => Ok(Some(Standing::Failed(failure.what))),
            Err(trouble) => Err(trouble),
        }
    }
}
