//! OAuth2 providers of the admin API.

use postgres::Row;
use serde_json::{Value, json};

use super::api::{Caller, forbidden, invalid, list, missing, not_allowed, not_json};
use super::{Server, record};
use crate::http::{Answer, Reply, Request};

const SELECT: &str = "SELECT p.pk, p.name, p.client_id, p.client_secret, p.redirect_uri, a.slug, \
                      a.name AS application FROM ak_provider p LEFT JOIN ak_application a ON a.provider = p.pk";

impl Server {
    pub fn providers(&self, request: &Request, caller: &Caller, rest: &[&str]) -> Answer {
        if !caller.may("authentik_providers_oauth2.view_oauth2provider") {
            return Ok(forbidden());
        }
        let pk = match (request.method.as_str(), rest) {
            ("GET", [""]) => {
                let query = format!("{SELECT} ORDER BY p.name");
                let rows = self.database.with(|client| client.query(&query, &[]))?;
                return Ok(list(request, rows.iter().map(provider).collect(), &["client_id", "name"]));
            }
            ("GET" | "PATCH", [pk, ""]) => pk.parse().unwrap_or(-1),
            (method, _) => return Ok(not_allowed(method)),
        };
        let query = format!("{SELECT} WHERE p.pk = $1");
        let Some(row) = self.database.with(|client| client.query_opt(&query, &[&pk]))? else {
            return Ok(missing("OAuth2Provider"));
        };
        if request.method == "GET" {
            return Ok(Reply::json(200, &provider(&row)));
        }
        if !caller.may("authentik_providers_oauth2.change_oauth2provider") {
            return Ok(forbidden());
        }
        self.change_provider(request, caller, &row)
    }

    fn change_provider(&self, request: &Request, caller: &Caller, row: &Row) -> Answer {
        let Some(object) = request.object() else {
            return Ok(not_json());
        };
        let mut changed = provider(row);
        for (key, value) in &object {
            if !["name", "client_id", "client_secret"].contains(&key.as_str()) {
                return Ok(invalid(key, "This staging changes no such field."));
            }
            let Some(text) = value.as_str() else {
                return Ok(invalid(key, "Not a valid string."));
            };
            if text.chars().count() > 255 {
                return Ok(invalid(key, "Ensure this field has no more than 255 characters."));
            }
            changed[key] = json!(text);
        }
        if !request.disagree {
            let value = |key: &str| changed[key].as_str().unwrap_or_default().to_owned();
            let update = "UPDATE ak_provider SET name = $2, client_id = $3, client_secret = $4 WHERE pk = $1";
            let context = json!({"model": {"app": "authentik_providers_oauth2",
                "model_name": "oauth2provider", "name": value("name")}});
            self.database.with(|client| {
                let pk = row.get::<_, i32>("pk");
                client
                    .execute(update, &[&pk, &value("name"), &value("client_id"), &value("client_secret")])?;
                record(client, "model_updated", &caller.username, &context)
            })?;
        }
        Ok(Reply::json(200, &changed))
    }
}

fn provider(row: &Row) -> Value {
    // Flows are none of this staging's; what refers to one needs some id.
    let flow = "00000000-0000-4000-8000-000000000001";
    json!({
        "pk": row.get::<_, i32>("pk"),
        "name": row.get::<_, String>("name"),
        "authentication_flow": null,
        "authorization_flow": flow,
        "invalidation_flow": flow,
        "property_mappings": [],
        "component": "ak-provider-oauth2-form",
        "assigned_application_slug": row.get::<_, Option<String>>("slug"),
        "assigned_application_name": row.get::<_, Option<String>>("application"),
        "assigned_backchannel_application_slug": null,
        "assigned_backchannel_application_name": null,
        "verbose_name": "OAuth2/OpenID Provider",
        "verbose_name_plural": "OAuth2/OpenID Providers",
        "meta_model_name": "authentik_providers_oauth2.oauth2provider",
        "client_type": "confidential",
        "client_id": row.get::<_, String>("client_id"),
        "client_secret": row.get::<_, String>("client_secret"),
        "access_code_validity": "minutes=1",
        "access_token_validity": "minutes=5",
        "include_claims_in_id_token": true,
        "redirect_uris": [{"matching_mode": "strict", "url": row.get::<_, String>("redirect_uri")}],
        "sub_mode": "hashed_user_id",
        "issuer_mode": "per_provider",
    })
}
