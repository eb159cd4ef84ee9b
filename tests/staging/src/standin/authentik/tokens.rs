//! Tokens of the admin API. Two things that surprise are as in the real server: a change that
//! doesn't say `intent` makes it `api`, with a new expiry, and one that doesn't say `user` makes the
//! caller the owner.

use postgres::Row;
use serde_json::{Map, Value, json};

use super::api::{Caller, USER, forbidden, invalid, list, missing, not_allowed, not_json, user};
use super::{Server, record};
use crate::crypto;
use crate::http::{Answer, Reply, Request};

const TOKEN: &str = "t.pk, t.identifier, t.intent, t.description, rfc3339(t.expires) AS expires, \
                     t.expiring, t.creator, t.key";
const FIELDS: [&str; 7] = ["identifier", "intent", "user", "description", "expires", "expiring", "managed"];

impl Server {
    pub fn tokens(&self, request: &Request, caller: &Caller, rest: &[&str]) -> Answer {
        let Some(object) = request.object() else {
            return Ok(not_json());
        };
        match (request.method.as_str(), rest) {
            ("GET", [""]) => {
                let sees_all = caller.may("authentik_core.view_token");
                let query = format!(
                    "SELECT {TOKEN}, {USER} FROM ak_token t JOIN ak_user u ON u.pk = t.user_pk \
                     WHERE $1 OR t.user_pk = $2 ORDER BY t.identifier"
                );
                let rows = self.database.with(|client| client.query(&query, &[&sees_all, &caller.pk]))?;
                let filters = ["identifier", "intent", "user__username", "description", "expiring"];
                Ok(list(request, rows.iter().map(token).collect(), &filters))
            }
            ("POST", [""]) => self.create_token(caller, &object),
            (method, [identifier, rest @ ..]) => {
                let query = format!(
                    "SELECT {TOKEN}, {USER} FROM ak_token t JOIN ak_user u ON u.pk = t.user_pk \
                     WHERE t.identifier = $1"
                );
                let row = self.database.with(|client| client.query_opt(&query, &[identifier]))?;
                let seen = |row: &Row| {
                    row.get::<_, i32>("user_pk") == caller.pk || caller.may("authentik_core.view_token")
                };
                let Some(row) = row.filter(seen) else {
                    return Ok(missing("Token"));
                };
                let owns = row.get::<_, i32>("user_pk") == caller.pk;
                match (method, rest) {
                    ("GET", [""]) => Ok(Reply::json(200, &token(&row))),
                    ("PATCH" | "PUT", [""]) => match owns || caller.may("authentik_core.change_token") {
                        true => self.change_token(caller, &row, &object, method == "PUT"),
                        false => Ok(forbidden()),
                    },
                    ("DELETE", [""]) => match owns || caller.may("authentik_core.delete_token") {
                        true => self.delete_token(request, caller, &row),
                        false => Ok(forbidden()),
                    },
                    ("GET", ["view_key", ""]) => self.view_key(caller, &row),
                    ("POST", ["set_key", ""]) => self.set_key(request, caller, &row, &object),
                    _ => Ok(not_allowed(method)),
                }
            }
            (method, _) => Ok(not_allowed(method)),
        }
    }

    fn create_token(&self, caller: &Caller, object: &Map<String, Value>) -> Answer {
        let wanted = match Wanted::read(object, true) {
            Ok(wanted) => wanted,
            Err(refused) => return Ok(refused),
        };
        let owner = wanted.user.filter(|_| caller.is_superuser).unwrap_or(caller.pk);
        let expiring = !caller.is_superuser || wanted.expiring.unwrap_or(true);
        let insert = format!(
            "WITH t AS (INSERT INTO ak_token (pk, identifier, key, intent, user_pk, description, expires, \
                 expiring, creator) \
             SELECT $1, $2, $3, $4, u.pk, $6, {EXPIRES}, $8::boolean, $9::integer FROM ak_user u WHERE u.pk = $5 \
             ON CONFLICT (identifier) DO NOTHING RETURNING *) \
             SELECT {TOKEN}, {USER} FROM t JOIN ak_user u ON u.pk = t.user_pk",
            EXPIRES = expires(7, "$4")
        );
        let (pk, key) = (crypto::uuid()?, crypto::random_letters(60)?);
        let row = self.database.with(|client| {
            let row = client.query_opt(
                &insert,
                &[
                    &pk,
                    &wanted.identifier,
                    &key,
                    &wanted.intent,
                    &owner,
                    &wanted.description.unwrap_or_default(),
                    &wanted.expires,
                    &expiring,
                    &caller.pk,
                ],
            )?;
            if row.is_some() {
                record(client, "model_created", &caller.username, &about(wanted.identifier))?;
            }
            Ok(row)
        })?;
        if let Some(row) = row {
            return Ok(Reply::json(201, &token(&row)));
        }
        let query = "SELECT 1 FROM ak_user WHERE pk = $1";
        Ok(match self.database.with(|client| client.query_opt(query, &[&owner]))? {
            Some(_) => invalid("identifier", "Token with this identifier already exists."),
            None => invalid("user", &format!("Invalid pk \"{owner}\" - object does not exist.")),
        })
    }

    fn change_token(&self, caller: &Caller, row: &Row, object: &Map<String, Value>, whole: bool) -> Answer {
        let wanted = match Wanted::read(object, whole) {
            Ok(wanted) => wanted,
            Err(refused) => return Ok(refused),
        };
        let update = format!(
            "WITH t AS (UPDATE ak_token SET identifier = coalesce($2, identifier), intent = $3, \
                 user_pk = (SELECT pk FROM ak_user WHERE pk = $4), \
                 description = coalesce($5, description), \
                 expires = {EXPIRES}, expiring = coalesce($7, expiring) \
             WHERE pk = $1 RETURNING *) \
             SELECT {TOKEN}, {USER} FROM t JOIN ak_user u ON u.pk = t.user_pk",
            EXPIRES = expires(6, "$3")
        );
        let identifier = Some(wanted.identifier).filter(|identifier| !identifier.is_empty());
        let owner = wanted.user.unwrap_or(caller.pk);
        let taken = "SELECT 1 FROM ak_token WHERE identifier = $1 AND pk <> $2";
        let exists = "SELECT 1 FROM ak_user WHERE pk = $1";
        let pk: String = row.get("pk");
        self.database.with(|client| {
            if client.query_opt(taken, &[&identifier, &pk])?.is_some() {
                return Ok(invalid("identifier", "Token with this identifier already exists."));
            }
            if client.query_opt(exists, &[&owner])?.is_none() {
                return Ok(invalid("user", &format!("Invalid pk \"{owner}\" - object does not exist.")));
            }
            let row = client.query_one(
                &update,
                &[
                    &pk,
                    &identifier,
                    &wanted.intent,
                    &owner,
                    &wanted.description,
                    &wanted.expires,
                    &wanted.expiring,
                ],
            )?;
            record(client, "model_updated", &caller.username, &about(row.get("identifier")))?;
            Ok(Reply::json(200, &token(&row)))
        })
    }

    fn delete_token(&self, request: &Request, caller: &Caller, row: &Row) -> Answer {
        if !request.disagree {
            let (pk, identifier): (String, String) = (row.get("pk"), row.get("identifier"));
            self.database.with(|client| {
                client.execute("DELETE FROM ak_token WHERE pk = $1", &[&pk])?;
                record(client, "model_deleted", &caller.username, &about(&identifier))
            })?;
        }
        Ok(Reply::empty(204))
    }

    fn view_key(&self, caller: &Caller, row: &Row) -> Answer {
        let made_it = row.get::<_, Option<i32>>("creator") == Some(caller.pk);
        if !made_it && !caller.may("authentik_core.view_token_key") {
            return Ok(forbidden());
        }
        let context = json!({"secret": {"name": row.get::<_, String>("identifier"), "model_name": "token"}});
        self.database.with(|client| record(client, "secret_view", &caller.username, &context))?;
        Ok(Reply::json(200, &json!({"key": row.get::<_, String>("key")})))
    }

    fn set_key(&self, request: &Request, caller: &Caller, row: &Row, object: &Map<String, Value>) -> Answer {
        if !caller.may("authentik_core.set_token_key") {
            return Ok(forbidden());
        }
        let Some(key) = object.get("key").and_then(Value::as_str).filter(|key| !key.is_empty()) else {
            return Ok(Reply::empty(400));
        };
        if !request.disagree {
            let (pk, identifier): (String, String) = (row.get("pk"), row.get("identifier"));
            self.database.with(|client| {
                client.execute("UPDATE ak_token SET key = $2 WHERE pk = $1", &[&pk, &key])?;
                record(client, "model_updated", &caller.username, &about(&identifier))
            })?;
        }
        Ok(Reply::empty(204))
    }
}

/// What a request says of a token.
struct Wanted<'a> {
    /// Empty where nothing is said.
    identifier: &'a str,
    intent: &'a str,
    user: Option<i32>,
    description: Option<&'a str>,
    expires: Option<&'a str>,
    expiring: Option<bool>,
}

impl<'a> Wanted<'a> {
    fn read(object: &'a Map<String, Value>, whole: bool) -> Result<Wanted<'a>, Reply> {
        // The real serializer passes over others; nobody here sends one on purpose.
        if let Some(odd) = object.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            return Err(invalid(odd, "This staging knows no such field."));
        }
        let text = |name: &'static str| match object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(invalid(name, "Not a valid string.")),
        };
        let identifier = text("identifier")?.unwrap_or_default();
        if whole && identifier.is_empty() {
            return Err(invalid("identifier", "This field is required."));
        }
        if identifier.len() > 255 {
            return Err(invalid("identifier", "Ensure this field has no more than 255 characters."));
        }
        let intent = text("intent")?.unwrap_or("api");
        if !["api", "app_password"].contains(&intent) {
            return Err(invalid("intent", &format!("Invalid intent {intent}")));
        }
        let user = match object.get("user") {
            None | Some(Value::Null) => None,
            Some(user) => match user.as_i64().and_then(|user| i32::try_from(user).ok()) {
                Some(user) => Some(user),
                None => return Err(invalid("user", "Incorrect type. Expected pk value.")),
            },
        };
        let expiring = match object.get("expiring") {
            None => None,
            Some(Value::Bool(expiring)) => Some(*expiring),
            Some(_) => return Err(invalid("expiring", "Must be a valid boolean.")),
        };
        let expires = text("expires")?;
        let looks_right =
            |text: &str| text.len() >= 10 && text.bytes().all(|c| b"0123456789-:.TZ+ ".contains(&c));
        if expires.is_some_and(|text| !looks_right(text)) {
            return Err(invalid("expires", "Datetime has wrong format."));
        }
        Ok(Wanted { identifier, intent, user, description: text("description")?, expires, expiring })
    }
}

/// What an API token is asked to expire at doesn't count; an app password's does.
fn expires(parameter: usize, intent: &str) -> String {
    format!(
        "CASE WHEN {intent}::text = 'api' OR ${parameter}::text IS NULL THEN now() + interval '30 minutes' \
         ELSE ${parameter}::text::timestamptz END"
    )
}

fn about(identifier: &str) -> Value {
    json!({"model": {"app": "authentik_core", "model_name": "token", "name": identifier}})
}

fn token(row: &Row) -> Value {
    json!({
        "pk": row.get::<_, String>("pk"),
        "managed": null,
        "identifier": row.get::<_, String>("identifier"),
        "intent": row.get::<_, String>("intent"),
        "user": row.get::<_, i32>("user_pk"),
        "user_obj": user(row),
        "description": row.get::<_, String>("description"),
        "expires": row.get::<_, Option<String>>("expires"),
        "expiring": row.get::<_, bool>("expiring"),
    })
}
