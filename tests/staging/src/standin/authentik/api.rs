//! The admin API: who asks, what they may, and the small objects. Tokens and providers have files of
//! their own.

use postgres::Row;
use serde_json::{Map, Value, json};

use super::{Server, record};
use crate::crypto;
use crate::http::{Answer, Reply, Request};

/// Columns of a user `u`.
pub const USER: &str = "u.pk AS user_pk, u.uuid, u.username, u.name AS user_name, u.email, u.type, \
                        u.is_superuser, u.permissions, rfc3339(u.made) AS made";

/// Whose token it is that asks.
pub struct Caller {
    pub pk: i32,
    pub username: String,
    pub is_superuser: bool,
    permissions: String,
}

impl Caller {
    pub fn may(&self, permission: &str) -> bool {
        self.is_superuser || self.permissions.split_whitespace().any(|found| found == permission)
    }
}

impl Server {
    pub fn api(&self, request: &Request, rest: &[&str]) -> Answer {
        let caller = match self.caller(request)? {
            Ok(caller) => caller,
            Err(refused) => return Ok(refused),
        };
        match (request.method.as_str(), rest) {
            ("GET", ["core", "users", "me", ""]) => self.me(&caller),
            ("GET", ["core", "users", ""]) => self.users(request, &caller),
            ("GET", ["core", "users", pk, ""]) => self.user(pk, &caller),
            (_, ["core", "tokens", rest @ ..]) => self.tokens(request, &caller, rest),
            (_, ["providers", "oauth2", rest @ ..]) => self.providers(request, &caller, rest),
            (_, ["core", "groups", rest @ ..]) => self.groups(request, &caller, rest),
            ("GET", ["events", "events", ""]) => self.events(request, &caller),
            _ => Ok(Reply::json(404, &json!({"detail": "Not found."}))),
        }
    }

    /// The caller, or what one is told who is none.
    fn caller(&self, request: &Request) -> Result<Result<Caller, Reply>, String> {
        let Some(key) = request.bearer() else {
            return Ok(Err(detail(403, "Authentication credentials were not provided.")));
        };
        let query = format!(
            "SELECT {USER} FROM ak_token t JOIN ak_user u ON u.pk = t.user_pk \
             WHERE t.key = $1 AND t.intent = 'api' AND (NOT t.expiring OR t.expires > now())"
        );
        // A token that is past its time isn't taken away but gets another key.
        let renew = "UPDATE ak_token SET key = $1, expires = now() + interval '30 minutes' \
                     WHERE pk = (SELECT pk FROM ak_token WHERE expiring AND expires <= now() LIMIT 1) \
                     RETURNING identifier";
        let fresh = crypto::random_letters(60)?;
        let row = self.database.with(|client| {
            if let Some(renewed) = client.query_opt(renew, &[&fresh])? {
                let context = json!({"model": {"name": renewed.get::<_, String>(0)}});
                record(client, "secret_rotate", "system", &context)?;
            }
            client.query_opt(&query, &[&key])
        })?;
        Ok(match row {
            Some(row) => Ok(Caller {
                pk: row.get("user_pk"),
                username: row.get("username"),
                is_superuser: row.get("is_superuser"),
                permissions: row.get("permissions"),
            }),
            None => Err(detail(403, "Token invalid/expired")),
        })
    }

    fn me(&self, caller: &Caller) -> Answer {
        let query = format!("SELECT {USER} FROM ak_user u WHERE u.pk = $1");
        let row = self.database.with(|client| client.query_one(&query, &[&caller.pk]))?;
        let user = user(&row);
        let permissions: Vec<&str> = caller.permissions.split_whitespace().collect();
        let mut own = json!({
            "is_current": true, "groups": [], "roles": [], "settings": {}, "system_permissions": permissions,
        });
        for key in ["pk", "username", "name", "is_active", "is_superuser", "email", "avatar", "uid", "type"] {
            own[key] = user[key].clone();
        }
        Ok(Reply::json(200, &json!({"user": own, "users": [own]})))
    }

    fn users(&self, request: &Request, caller: &Caller) -> Answer {
        if !caller.may("authentik_core.view_user") {
            return Ok(forbidden());
        }
        let query = format!("SELECT {USER} FROM ak_user u ORDER BY u.username");
        let rows = self.database.with(|client| client.query(&query, &[]))?;
        let users = rows.iter().map(user).collect();
        Ok(list(request, users, &["username", "name", "email", "uuid", "is_superuser"]))
    }

    fn user(&self, pk: &str, caller: &Caller) -> Answer {
        let pk: i32 = pk.parse().unwrap_or(-1);
        let query = format!("SELECT {USER} FROM ak_user u WHERE u.pk = $1");
        let row = self.database.with(|client| client.query_opt(&query, &[&pk]))?;
        Ok(match row.filter(|_| caller.pk == pk || caller.may("authentik_core.view_user")) {
            Some(row) => Reply::json(200, &user(&row)),
            None => missing("User"),
        })
    }

    fn groups(&self, request: &Request, caller: &Caller, rest: &[&str]) -> Answer {
        let verb = match request.method.as_str() {
            "GET" => "view",
            "POST" => "add",
            "PATCH" => "change",
            "DELETE" => "delete",
            _ => return Ok(not_allowed(&request.method)),
        };
        if !caller.may(&format!("authentik_core.{verb}_group")) {
            return Ok(forbidden());
        }
        let Some(object) = request.object() else {
            return Ok(not_json());
        };
        const COLUMNS: &str = "num_pk, pk, name, attributes";
        let name = object.get("name").and_then(Value::as_str);
        let attributes = object.get("attributes").map(Value::to_string);
        let row = match (verb, rest) {
            ("view", [""]) => {
                let query = format!("SELECT {COLUMNS} FROM ak_group ORDER BY name");
                let rows = self.database.with(|client| client.query(&query, &[]))?;
                return Ok(list(request, rows.iter().map(group).collect(), &["name"]));
            }
            ("add", [""]) => {
                let Some(name) = name.filter(|name| !name.is_empty()) else {
                    return Ok(invalid("name", "This field is required."));
                };
                let insert = format!(
                    "INSERT INTO ak_group (pk, name, attributes) VALUES ($1, $2, $3) \
                     ON CONFLICT DO NOTHING RETURNING {COLUMNS}"
                );
                let values = (crypto::uuid()?, attributes.unwrap_or_else(|| "{}".to_owned()));
                let row =
                    self.database.with(|client| client.query_opt(&insert, &[&values.0, &name, &values.1]))?;
                return Ok(match row {
                    Some(row) => Reply::json(201, &group(&row)),
                    None => invalid("name", "Group with this name already exists."),
                });
            }
            ("view", [pk, ""]) => {
                let query = format!("SELECT {COLUMNS} FROM ak_group WHERE pk = $1");
                self.database.with(|client| client.query_opt(&query, &[pk]))?
            }
            ("change", [pk, ""]) => {
                let update = format!(
                    "UPDATE ak_group SET name = coalesce($2, name), attributes = coalesce($3, attributes) \
                     WHERE pk = $1 RETURNING {COLUMNS}"
                );
                self.database.with(|client| client.query_opt(&update, &[pk, &name, &attributes]))?
            }
            ("delete", [pk, ""]) => {
                let delete = "DELETE FROM ak_group WHERE pk = $1";
                let count = self.database.with(|client| client.execute(delete, &[pk]))?;
                return Ok(if count == 1 { Reply::empty(204) } else { missing("Group") });
            }
            _ => return Ok(not_allowed(&request.method)),
        };
        Ok(row.map_or_else(|| missing("Group"), |row| Reply::json(200, &group(&row))))
    }

    fn events(&self, request: &Request, caller: &Caller) -> Answer {
        if !caller.may("authentik_events.view_event") {
            return Ok(forbidden());
        }
        let query = "SELECT pk, action, username, context, rfc3339(created) FROM ak_event \
                     ORDER BY created DESC";
        let rows = self.database.with(|client| client.query(query, &[]))?;
        let events = rows.iter().map(|row| {
            let context: Value = serde_json::from_str(row.get(3)).unwrap_or(Value::Null);
            json!({
                "pk": row.get::<_, String>(0), "action": row.get::<_, String>(1),
                "user": {"username": row.get::<_, String>(2)}, "app": "authentik.events",
                "context": context, "created": row.get::<_, String>(4),
            })
        });
        Ok(list(request, events.collect(), &["action"]))
    }
}

/// From the columns `USER`.
pub fn user(row: &Row) -> Value {
    let uuid: String = row.get("uuid");
    let made: String = row.get("made");
    json!({
        "pk": row.get::<_, i32>("user_pk"),
        "username": row.get::<_, String>("username"),
        "name": row.get::<_, String>("user_name"),
        "is_active": true,
        "last_login": null,
        "date_joined": made,
        "is_superuser": row.get::<_, bool>("is_superuser"),
        "groups": [],
        "groups_obj": [],
        "roles": [],
        "roles_obj": [],
        "email": row.get::<_, String>("email"),
        "avatar": "data:,",
        "attributes": {},
        "uid": crypto::hash(&uuid),
        "path": "users",
        "type": row.get::<_, String>("type"),
        "uuid": uuid,
        "password_change_date": made,
        "last_updated": made,
    })
}

fn group(row: &Row) -> Value {
    let attributes: Value = serde_json::from_str(row.get("attributes")).unwrap_or(Value::Null);
    json!({
        "pk": row.get::<_, String>("pk"), "num_pk": row.get::<_, i32>("num_pk"),
        "name": row.get::<_, String>("name"), "is_superuser": false, "parents": [], "parents_obj": [],
        "users": [], "users_obj": [], "attributes": attributes, "roles": [], "roles_obj": [],
        "inherited_roles_obj": [], "children": [], "children_obj": [],
    })
}

/// A page of these, after what the query asks for: fields (`user__username` is one of an object
/// within), `search`, `ordering`, `page` and `page_size`. As with the real server, other words of the
/// query are passed over.
pub fn list(request: &Request, mut results: Vec<Value>, filters: &[&str]) -> Reply {
    let field = |value: &Value, name: &str| -> String {
        let found = name.split("__").fold(value, |value, part| {
            // An object is there beside its number.
            value.get(format!("{part}_obj")).or_else(|| value.get(part)).unwrap_or(&Value::Null)
        });
        found.as_str().map_or_else(|| found.to_string(), ToOwned::to_owned)
    };
    let asked = |name: &str| request.query.get(name).filter(|value| !value.is_empty());
    for name in filters {
        if let Some(wanted) = asked(name) {
            results.retain(|value| field(value, name) == *wanted);
        }
    }
    if let Some(wanted) = asked("search") {
        let wanted = wanted.to_lowercase();
        results
            .retain(|value| filters.iter().any(|name| field(value, name).to_lowercase().contains(&wanted)));
    }
    if let Some(order) = asked("ordering") {
        let name = order.trim_start_matches('-');
        results.sort_by_key(|value| field(value, name));
        if order.starts_with('-') {
            results.reverse();
        }
    }
    let number = |name: &str| asked(name).and_then(|value| value.parse::<usize>().ok());
    let size = number("page_size").unwrap_or(20).clamp(1, 100);
    let page = number("page").unwrap_or(1).max(1);
    let count = results.len();
    let pages = count.div_ceil(size).max(1);
    if page > pages {
        return detail(404, "Invalid page.");
    }
    let start = (page - 1) * size;
    let end = (start + size).min(count);
    Reply::json(
        200,
        &json!({
            "pagination": {
                "next": if page < pages { page + 1 } else { 0 }, "previous": page - 1, "count": count,
                "current": page, "total_pages": pages,
                "start_index": if count == 0 { 0 } else { start + 1 }, "end_index": end,
            },
            "results": results[start..end], "autocomplete": {},
        }),
    )
}

fn detail(status: u16, text: &str) -> Reply {
    Reply::json(status, &json!({"detail": text}))
}

pub fn forbidden() -> Reply {
    detail(403, "You do not have permission to perform this action.")
}

pub fn missing(model: &str) -> Reply {
    detail(404, &format!("No {model} matches the given query."))
}

pub fn not_allowed(method: &str) -> Reply {
    detail(405, &format!("Method \"{method}\" not allowed."))
}

pub fn not_json() -> Reply {
    detail(400, "JSON parse error")
}

pub fn invalid(field: &str, why: &str) -> Reply {
    let mut object = Map::new();
    object.insert(field.to_owned(), json!([why]));
    Reply::json(400, &Value::Object(object))
}
