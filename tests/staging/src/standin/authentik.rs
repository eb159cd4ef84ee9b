//! authentik-server and authentik-worker.

use postgres::Config;
use serde_json::json;
use tiny_http::Method;

use crate::database::Database;
use crate::http::{self, Reply, Request};
use crate::{log, required};

const LOGIN_FLOW: &str = "/if/flow/default-authentication-flow/";

const LOGIN_PAGE: &str = "<!doctype html><title>authentik</title>\
    <form method=post><input name=uidField autocomplete=username><button>Log in</button></form>";

pub fn run_server() -> Result<(), String> {
    let database = database("authentik-server")?;
    http::serve(&required("LISTEN")?, move |request| server(&database, request))
}

pub fn run_worker() -> Result<(), String> {
    let database = database("authentik-worker")?;
    http::serve(&required("LISTEN")?, move |request| match (&request.method, request.path.as_str()) {
        (Method::Get | Method::Head, "/-/health/ready/") => ready(&database),
        _ => Reply::not_found(),
    })
}

fn database(application: &str) -> Result<Database, String> {
    let mut config = Config::new();
    config
        .host(&required("AUTHENTIK_POSTGRESQL__HOST")?)
        .user(&required("AUTHENTIK_POSTGRESQL__USER")?)
        .dbname(&required("AUTHENTIK_POSTGRESQL__NAME")?)
        .password(required("AUTHENTIK_POSTGRESQL__PASSWORD")?);
    Database::new(&config, application)
}

fn server(database: &Database, request: &Request) -> Reply {
    match (&request.method, request.path.as_str()) {
        (Method::Get | Method::Head, "/-/health/live/") => Reply::empty(200),
        (Method::Get | Method::Head, "/-/health/ready/") => ready(database),
        // Pages come from the database in the real server; they fail without it here too.
        (Method::Get, "/if/admin/") => match database.works() {
            Ok(()) => Reply::redirect(&format!("{LOGIN_FLOW}?next=/if/admin/")),
            Err(why) => unavailable(&why),
        },
        (Method::Get, LOGIN_FLOW) => match database.works() {
            Ok(()) => Reply::html(200, LOGIN_PAGE),
            Err(why) => unavailable(&why),
        },
        _ => Reply::not_found(),
    }
}

fn ready(database: &Database) -> Reply {
    match database.works() {
        Ok(()) => Reply::empty(200),
        Err(why) => unavailable(&why),
    }
}

fn unavailable(why: &str) -> Reply {
    log(&format!("not ready: {why}"));
    Reply::json(503, &json!({"error": "database_unavailable"}))
}
