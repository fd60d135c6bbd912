//! What the REST interface lists: assets, components and tasks, page by page.
//!
//! `GET service/rest/v1/repositories` names the repositories, and `GET service/rest/v1/assets?repository=NAME` lists the
//! assets of one, 10 to 100 a page; a `continuationToken` asks for the next, and its absence says that this was the last.
//! `components` lists the tags of a Docker repository in the same way, and `tasks` what it can be told to start.

use reqwest::Client;
use rustc_hash::FxHashSet;
use serde_json::Value;

use super::super::EvidenceError;
use super::super::managed::Managed;
use super::super::row::{self, Row};
use super::Rest;

/// Takes one item of a page, or says what is wrong with it.
type Take<'t> = &'t mut (dyn FnMut(&Value) -> Result<(), String> + Send);

impl Rest {
    /// Every asset of every Docker repository but groups, which have none of their own; with `managed` also what deleting
    /// through this interface needs.
    pub(in super::super) async fn assets(
        &self,
        mut managed: Option<&mut Managed>,
    ) -> Result<Vec<Row>, EvidenceError> {
        let client = self.client()?;
        // Validation: who may not see everything is shown a part of it as if it were all. The blob stores are shown to
        // administrators alone.
        self.ask(&client, "blobstores", &[]).await?;
        let repositories = self.ask(&client, "repositories", &[]).await?;
        let repositories = repositories.as_array().ok_or_else(|| {
            self.failed("the list of repositories is not one: is this the address of a Nexus?")
        })?;
        let mut rows = Vec::new();
        for repository in repositories {
            let text = |name| repository.get(name).and_then(Value::as_str);
            let (Some(name), Some(format), Some(kind)) = (text("name"), text("format"), text("type")) else {
                return Err(self.failed("a repository has no name, format or type"));
            };
            if !matches!(format, "docker" | "oci") || kind == "group" {
                continue;
            }
            self.pages(&client, "assets", Some(name), &mut |item| {
                let mut row = row::of_json(item)?;
                if let Row::Asset { proxy, .. } = &mut row {
                    *proxy = kind == "proxy";
                }
                rows.push(row);
                managed.as_deref_mut().map_or(Ok(()), |managed| managed.add_asset(name, item))
            })
            .await?;
            if let Some(managed) = managed.as_deref_mut() {
                let take: Take<'_> = &mut |item| managed.add_component(name, item);
                self.pages(&client, "components", Some(name), take).await?;
            }
        }
        if let Some(managed) = managed {
            self.url().clone_into(&mut managed.url);
            self.pages(&client, "tasks", None, &mut |item| managed.add_task(item)).await?;
        }
        Ok(rows)
    }

    /// Every page of a listing, of one repository or of none.
    async fn pages(
        &self,
        client: &Client,
        what: &str,
        repository: Option<&str>,
        take: Take<'_>,
    ) -> Result<(), EvidenceError> {
        let mut token: Option<String> = None;
        let mut seen = FxHashSet::default();
        let of = repository.map(|name| format!(" of {name}")).unwrap_or_default();
        loop {
            let mut query: Vec<(&str, &str)> =
                repository.map(|name| ("repository", name)).into_iter().collect();
            query.extend(token.as_deref().map(|token| ("continuationToken", token)));
            let page = self.ask(client, what, &query).await?;
            let wrong = |why: String| self.failed(&format!("a page of {what}{of}: {why}"));
            let items = page.get("items").and_then(Value::as_array);
            for item in items.ok_or_else(|| wrong("it has no items".into()))? {
                if repository.is_some() && item.get("repository").and_then(Value::as_str) != repository {
                    return Err(wrong("it has something of another repository".into()));
                }
                take(item).map_err(wrong)?;
            }
            token = match page.get("continuationToken") {
                None | Some(Value::Null) => return Ok(()),
                Some(Value::String(token)) => Some(token.clone()),
                Some(_) => return Err(wrong("its continuationToken is no text".into())),
            };
            // Validation: a listing that goes in circles has no end, and what it left out is not known.
            if !seen.insert(token.clone()) {
                return Err(wrong("its continuationToken was given before".into()));
            }
        }
    }
}
