//! Projects in Authentik: a group for each, made and kept with AUTHENTIK_API_TOKEN.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{self, Answer};
use crate::database::Database;
use crate::http::{Reply, encoded};
use crate::{log, required};

/// What failed is tried again after so long.
const PAUSE: Duration = Duration::from_secs(2);

pub struct Provisioner {
    authentik: String,
    token: String,
}

impl Provisioner {
    pub fn from_environment() -> Result<Provisioner, String> {
        Ok(Provisioner { authentik: required("AUTHENTIK_URL")?, token: required("AUTHENTIK_API_TOKEN")? })
    }

    /// Provisions what is pending or failed, whenever something changed and as long as something
    /// fails, until the process ends.
    pub fn keep_up(&self, database: &Database, changes: &Receiver<()>) {
        let mut all_well = false;
        loop {
            // Nothing is asked of anybody while all is well.
            let woken = match all_well {
                true => changes.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => changes.recv_timeout(PAUSE),
            };
            if woken == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            all_well = self.provision(database).unwrap_or_else(|why| {
                log(&format!("provisioning: {why}"));
                false
            });
        }
    }

    /// Whether all are provisioned now.
    pub fn provision(&self, database: &Database) -> Result<bool, String> {
        let query =
            "SELECT id, slug, name, generation FROM project WHERE provisioning <> 'synced' ORDER BY slug";
        let mut all_well = true;
        for row in database.with(|client| client.query(query, &[]))? {
            let (id, slug, name): (String, String, String) = (row.get(0), row.get(1), row.get(2));
            let error = self.sync(&id, &slug, &name).err();
            let status = if error.is_none() { "synced" } else { "failed" };
            if let Some(code) = error {
                log(&format!("provisioning of {slug}: {code}"));
                all_well = false;
            }
            // Not where it was changed in between.
            let update = "UPDATE project SET provisioning = $3, provisioning_error = $4, provisioned = now() \
                          WHERE id = $1 AND generation = $2";
            let generation: i32 = row.get(3);
            database.with(|client| client.execute(update, &[&id, &generation, &status, &error]))?;
        }
        Ok(all_well)
    }

    fn sync(&self, id: &str, slug: &str, name: &str) -> Result<(), &'static str> {
        let attributes = json!({"project": id, "title": name});
        match self.group(slug)? {
            Some(pk) => self.ask("PATCH", &format!("{pk}/"), &json!({"attributes": attributes})).map(drop),
            None => {
                self.ask("POST", "", &json!({"name": group_name(slug), "attributes": attributes})).map(drop)
            }
        }
    }

    /// Takes the group of a project away.
    pub fn remove(&self, slug: &str) -> Result<(), &'static str> {
        match self.group(slug)? {
            Some(pk) => self.ask("DELETE", &format!("{pk}/"), &Value::Null).map(drop),
            None => Ok(()),
        }
    }

    /// Whether Authentik takes the token, for a prober: 200, or 502 with what provisioning would fail with.
    pub fn probe(&self) -> Reply {
        match self.ask("GET", "?name=probe", &Value::Null) {
            Ok(_) => Reply::json(200, &json!({"provisioning": "accepted"})),
            Err("authentik_unreachable") => Reply::error(503, "authentik_unreachable"),
            Err(code) => Reply::error(502, code),
        }
    }

    fn group(&self, slug: &str) -> Result<Option<String>, &'static str> {
        let answer = self.ask("GET", &format!("?name={}", encoded(&group_name(slug))), &Value::Null)?;
        Ok(answer.json()["results"][0]["pk"].as_str().map(ToOwned::to_owned))
    }

    fn ask(&self, method: &str, rest: &str, body: &Value) -> Result<Answer, &'static str> {
        let url = format!("{}/api/v3/core/groups/{rest}", self.authentik);
        let authorization = format!("Bearer {}", self.token);
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = client::send(method, &url, &headers, &body).map_err(|_| "authentik_unreachable")?;
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        match answer.status {
            200..=299 => Ok(answer),
            401 => Err("authentik_unauthorized"),
            403 if detail.contains("Token invalid") => Err("authentik_unauthorized"),
            403 => Err("authentik_forbidden"),
            500..=599 => Err("authentik_unreachable"),
            _ => Err("authentik_error"),
        }
    }
}

fn group_name(slug: &str) -> String {
    format!("seqn-project-{slug}")
}
