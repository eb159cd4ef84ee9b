//! `uri`: one HTTP request from the host's network.
//!
//! GET, HEAD and OPTIONS only look, so they are sent while planning; every other method is an
//! effect. In check mode nothing is sent, as in Ansible.

mod body;
mod result;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::file_args::{self, FileArgs, with_file_args};
use super::place::{Payload, Placing, place};
use super::text_edit::MAX_SIZE;
use super::{CheckAnswer, Failure, Module, Plan, PlanCx, Step, host_path};
use crate::remote::http::{self, Body, Follow, HttpRequest, HttpResponse, Identity, SecretKey, Tls};
use crate::remote::{Effect, Expect, FileKind, HttpFailure};
use crate::source::{Map, Text, Val};

/// Sends an HTTP request.
pub struct Uri;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
pub enum BodyFormat {
    #[serde(rename = "form-urlencoded")]
    Form,
    #[serde(rename = "json")]
    Json,
    #[default]
    #[serde(rename = "raw")]
    Raw,
    #[serde(rename = "form-multipart")]
    Multipart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
pub enum Redirects {
    #[serde(rename = "all", alias = "yes", alias = "True")]
    All,
    #[serde(rename = "none", alias = "no", alias = "False")]
    None,
    #[default]
    #[serde(rename = "safe", alias = "urllib2")]
    Safe,
}

with_file_args! {
    /// Arguments of `uri`.
    pub struct Args {
        /// `http://…` or `https://…`
        pub url: Text,
        /// GET, POST, …
        #[serde(default = "get")]
        pub method: String,
        /// What is sent; lists and maps in `body_format`.
        pub body: Option<Val>,
        /// How `body` is written.
        #[serde(default)]
        pub body_format: BodyFormat,
        /// A file that is sent instead of `body`.
        pub src: Option<String>,
        /// `src` is on the host.
        #[serde(default)]
        pub remote_src: bool,
        /// Headers of the request.
        #[serde(default = "no_headers")]
        pub headers: Val,
        /// Which answers are no failure.
        #[serde(default = "ok")]
        pub status_code: Vec<u16>,
        /// The body as result value `content`.
        #[serde(default)]
        pub return_content: bool,
        /// A file or folder of the host for the body.
        pub dest: Option<String>,
        /// Don't send when this path is there.
        pub creates: Option<String>,
        /// Don't send unless this path is there.
        pub removes: Option<String>,
        /// Seconds for the whole exchange.
        #[serde(default = "thirty")]
        pub timeout: u64,
        /// Which redirects to follow.
        #[serde(default)]
        pub follow_redirects: Redirects,
        /// User name for basic authentication.
        #[serde(alias = "user")]
        pub url_username: Option<Text>,
        /// Password for basic authentication.
        #[serde(alias = "password")]
        pub url_password: Option<Text>,
        /// Send name and password at once, not only when asked.
        #[serde(default)]
        pub force_basic_auth: bool,
        /// The server's certificate must be valid.
        #[serde(default = "yes")]
        pub validate_certs: bool,
        /// PEM file of the host with the authorities to trust.
        pub ca_path: Option<String>,
        /// PEM file of the host with a certificate to show.
        pub client_cert: Option<String>,
        /// PEM file of the host with the key of `client_cert`.
        pub client_key: Option<String>,
        /// The header `User-Agent`.
        #[serde(default = "agent")]
        pub http_agent: String,
        /// Ask for a fresh answer even if `dest` is there.
        #[serde(default)]
        pub force: bool,
        /// Proxies are not supported; without one in the task's environment this changes nothing.
        #[serde(default = "yes")]
        pub use_proxy: bool,
        /// No compressed answers are asked for.
        #[serde(default = "yes")]
        #[allow(dead_code)]
        pub decompress: bool,
        /// `~/.netrc` is never read.
        #[serde(default = "yes")]
        #[allow(dead_code)]
        pub use_netrc: bool,
        /// Not supported.
        pub unix_socket: Option<String>,
        /// Not supported.
        pub ciphers: Option<Vec<String>>,
        /// Not supported.
        #[serde(default)]
        pub unredirected_headers: Vec<String>,
        /// Not supported.
        #[serde(default)]
        pub use_gssapi: bool,
    }
}

fn get() -> String {
    "GET".into()
}
fn no_headers() -> Val {
    Val::map(Map::new())
}
fn ok() -> Vec<u16> {
    vec![200]
}
fn thirty() -> u64 {
    30
}
fn yes() -> bool {
    true
}
fn agent() -> String {
    "ansible-httpget".into()
}

const ACTED: &str = "what a server did for a request cannot be undone by itself; give the task `undo:`";

/// Whether a request of this method is no effect.
fn only_looks(method: &str) -> bool {
    ["GET", "HEAD", "OPTIONS"].iter().any(|looks| method.eq_ignore_ascii_case(looks))
}

impl Module for Uri {
    type Args = Args;
    const NAME: &'static str = "uri";
    const SECRET_ARGS: &'static [&'static str] = &["url_password", "password"];

    fn one_way(args: &Val) -> Option<&'static str> {
        let method = args.get("method")?;
        let acts = !method.has_template() && !only_looks(method.as_str()?);
        acts.then_some(ACTED)
    }

    fn validate(args: &Args) -> Result<(), String> {
        for (name, given) in [
            ("unix_socket", args.unix_socket.is_some()),
            ("ciphers", args.ciphers.is_some()),
            ("use_gssapi", args.use_gssapi),
            ("unredirected_headers", !args.unredirected_headers.is_empty()),
        ] {
            if given {
                return Err(format!("{name} is not supported"));
            }
        }
        if args.body.is_some() && args.src.is_some() {
            return Err("parameters are mutually exclusive: body|src".into());
        }
        if args.method.is_empty() || !args.method.chars().all(|c| c.is_ascii_alphabetic()) {
            return Err("Parameter 'method' needs to be a single word in uppercase, like GET or POST.".into());
        }
        if args.client_cert.is_none() && args.client_key.is_some() {
            return Err("client_key needs client_cert".into());
        }
        if args.headers.as_map().is_none() {
            return Err("headers must be a mapping".into());
        }
        args.file_args().map(drop)
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        if cx.check {
            let msg = "remote module (uri) does not support check mode";
            let skip = Map::from_iter([(Val::from("msg"), Val::from(msg))]);
            let mut plan = Plan { check: CheckAnswer::Skip(skip), ..Plan::ok() };
            // What it would do is foreseen, as far as it can be told now.
            if !only_looks(&args.method)
                && let Ok(request) = request(&args, cx).await
            {
                plan.steps.push(http_step(request));
            }
            return Ok(plan);
        }
        if let Some(creates) = host_path::expand_opt(cx.target, args.creates.as_deref()).await?
            && cx.target.stat(&creates).await?.is_some()
        {
            return Ok(Plan::ok().value("stdout", format!("skipped, since '{creates}' exists")));
        }
        if let Some(removes) = host_path::expand_opt(cx.target, args.removes.as_deref()).await?
            && cx.target.stat(&removes).await?.is_none()
        {
            return Ok(Plan::ok().value("stdout", format!("skipped, since '{removes}' does not exist")));
        }
        let mut request = request(&args, cx).await?;
        let dest = match &args.dest {
            Some(dest) => Some(Dest::look(cx, dest, &args, &mut request).await?),
            None => None,
        };
        let asked = Asked::new(&args, &request);
        let mut plan = match only_looks(&request.method) {
            true => observe(request, asked, dest, cx).await?,
            false => effect(request, asked, dest)?,
        };
        let proxied = |name: &str| name.to_lowercase().ends_with("_proxy");
        if args.use_proxy && cx.environment.iter().any(|(name, _)| proxied(name)) {
            plan.warnings
                .push("uri does not use proxies; the one in the task's environment was ignored".into());
        }
        Ok(plan)
    }
}

/// What the answer is judged by.
struct Asked {
    url: Text,
    status_code: Vec<u16>,
    return_content: bool,
    /// The header that a 401 asks for, unless it was sent at once.
    on_challenge: Option<Text>,
    attributes: FileArgs,
}

impl Asked {
    fn new(args: &Args, request: &HttpRequest) -> Asked {
        Asked {
            url: request.url.clone(),
            status_code: args.status_code.clone(),
            return_content: args.return_content,
            on_challenge: basic_auth(args).filter(|_| !args.force_basic_auth),
            attributes: args.file_args().unwrap_or_default(),
        }
    }

    /// The request again with the credentials that this answer asks for.
    fn challenged(
        &self,
        request: &HttpRequest,
        answer: &Result<HttpResponse, HttpFailure>,
    ) -> Option<HttpRequest> {
        let Ok(response) = answer else { return None };
        let basic = response.header("www-authenticate")?.trim_start().to_lowercase().starts_with("basic");
        let credentials = self.on_challenge.clone().filter(|_| basic && response.status == 401)?;
        let already = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if already {
            return None;
        }
        let mut again = request.clone();
        again.headers.push(("Authorization".into(), credentials));
        Some(again)
    }

    fn judge(&self, answer: Result<HttpResponse, HttpFailure>, elapsed: Duration) -> Result<Plan, Failure> {
        let answer = match answer {
            Err(HttpFailure::Remote(e)) => return Err(e.into()),
            Err(HttpFailure::Request(why)) => Err(why),
            Ok(response) => Ok(response),
        };
        result::judge(&self.url, &self.status_code, self.return_content, answer, elapsed)
    }
}

async fn observe(
    request: HttpRequest,
    asked: Asked,
    dest: Option<Dest>,
    cx: &PlanCx<'_>,
) -> Result<Plan, Failure> {
    let mut exchange = http::send(cx.target, &request).await;
    if let Some(again) = asked.challenged(&request, &exchange.result) {
        exchange = http::send(cx.target, &again).await;
    }
    let (answer, elapsed) = (exchange.result, exchange.duration);
    let plan = asked.judge(answer.clone(), elapsed)?;
    match (dest, answer) {
        (Some(dest), Ok(response)) if response.status != 304 => {
            let payload = Payload::inline(response.body.clone(), false, None);
            let path = dest.path_for(&response);
            let placing = Placing {
                dest: path.clone(),
                basename: None,
                attributes: asked.attributes.clone(),
                directory_mode: None,
                force: true,
                backup: false,
                validate: None,
                follow: true,
            };
            let mut file = place(cx, &placing, &payload).await?.into_plan(&payload);
            file.result.extend(plan.result);
            Ok(file.value("path", path))
        }
        (Some(dest), _) => Ok(plan.value("path", dest.path)),
        (None, _) => Ok(plan),
    }
}

fn effect(request: HttpRequest, asked: Asked, dest: Option<Dest>) -> Result<Plan, Failure> {
    let step = http_step(request.clone());
    let mut plan = Plan::ok().step(step).finish(move |outputs| {
        let output = outputs.last().cloned().unwrap_or_default();
        let answer = HttpResponse::from_output(&output);
        match asked.challenged(&request, &answer) {
            Some(again) => Ok(unchanged(Plan::ok().step(http_step(again)).finish(move |outputs| {
                let output = outputs.last().cloned().unwrap_or_default();
                written(&asked, HttpResponse::from_output(&output), output.duration, dest)
            }))),
            None => written(&asked, answer, output.duration, dest),
        }
    });
    plan.changed = Some(false);
    Ok(plan)
}

/// Ansible never calls a request itself a change.
fn unchanged(plan: Plan) -> Plan {
    Plan { changed: Some(false), ..plan }
}

fn written(
    asked: &Asked,
    answer: Result<HttpResponse, HttpFailure>,
    elapsed: Duration,
    dest: Option<Dest>,
) -> Result<Plan, Failure> {
    let plan = asked.judge(answer.clone(), elapsed)?;
    let (Some(dest), Ok(response)) = (dest, answer) else { return Ok(unchanged(plan)) };
    if response.status == 304 {
        return Ok(unchanged(plan.value("path", dest.path)));
    }
    let path = dest.path_for(&response);
    let write = Step::file(
        format!("write {path}"),
        Effect::Write {
            path: path.clone(),
            content: file_args::content(response.body, false),
            attributes: asked.attributes.wanted(None),
            expect: Expect::Anything,
            validate: None,
            backup: false,
        },
    );
    let plan = plan.value("path", path).step(write);
    Ok(Plan { changed: Some(true), ..plan }
        .finish(|outputs| Ok(Plan { result: file_args::final_path_info(outputs), ..Plan::ok() })))
}

fn http_step(request: HttpRequest) -> Step {
    // The query and the user part may hold what nobody should see.
    let shown = request.url.split(['?', '#']).next().unwrap_or_default();
    let shown = match (shown.split_once("://"), shown.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => shown.to_string(),
    };
    let label = match request.url.is_secret() {
        true => format!("{} request", request.method),
        false => format!("{} {shown}", request.method),
    };
    Step::one_way(label, Effect::Http(Arc::new(request)), ACTED).unobservable()
}

/// Where the body goes.
struct Dest {
    path: String,
    is_directory: bool,
}

impl Dest {
    /// Looks at `dest`, and asks only for something newer than the file that is there.
    async fn look(
        cx: &PlanCx<'_>,
        dest: &str,
        args: &Args,
        request: &mut HttpRequest,
    ) -> Result<Dest, Failure> {
        let path = host_path::expand(cx.target, dest).await?;
        let stat = cx.target.stat(&path).await?;
        let is_directory = stat.as_ref().is_some_and(|s| s.kind == FileKind::Directory);
        if let Some(stat) = stat.filter(|s| s.kind == FileKind::File && !args.force) {
            let time = chrono::DateTime::from_timestamp(stat.mtime as i64, 0).unwrap_or_default();
            let stamp = time.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            request.headers.push(("If-Modified-Since".into(), Text::new(stamp)));
        }
        Ok(Dest { path, is_directory })
    }

    /// In a folder: the name that the server gives it, or the URL's.
    fn path_for(&self, response: &HttpResponse) -> String {
        if !self.is_directory {
            return self.path.clone();
        }
        let given = response.header("content-disposition").and_then(|d| {
            let name = d.split("filename=").nth(1)?.split(';').next()?.trim().trim_matches('"');
            Some(host_path::basename(name).to_string())
        });
        let from_url = || {
            let path = response.url.split(['?', '#']).next().unwrap_or_default().splitn(4, '/').nth(3)?;
            Some(host_path::basename(path).to_string())
        };
        let safe = |name: &String| !name.is_empty() && name != "." && name != "..";
        let name = given.filter(safe).or_else(|| from_url().filter(safe));
        host_path::join(&self.path, name.as_deref().unwrap_or("index.html"))
    }
}

async fn request(args: &Args, cx: &PlanCx<'_>) -> Result<HttpRequest, Failure> {
    let mut headers = Vec::new();
    let mut add = |name: &str, value: Text| headers.push((name.to_string(), value));
    add("User-Agent", Text::new(args.http_agent.as_str()));
    if args.force {
        add("cache-control", Text::new("no-cache"));
    }
    let body = match &args.src {
        Some(src) => Some((None, file_body(src, args.remote_src, cx).await?)),
        None => body::encode(args, cx)?,
    };
    if let Some((Some(content_type), _)) = &body {
        add("Content-Type", Text::new(content_type.as_str()));
    }
    if args.force_basic_auth
        && let Some(credentials) = basic_auth(args)
    {
        add("Authorization", credentials);
    }
    for (name, value) in args.headers.as_map().into_iter().flatten() {
        let Some(text) = crate::source::args::scalar_text(value) else {
            return Err(Failure::new(format!("header '{}' must be a string", name.key_text())));
        };
        add(&name.key_text(), text.plain());
    }
    let identity = match &args.client_cert {
        Some(cert) => {
            let cert = pem(cx, cert, "client_cert").await?;
            let key = match &args.client_key {
                Some(key) => pem(cx, key, "client_key").await?,
                None => cert.clone(),
            };
            Some(Identity { chain: cert, key: SecretKey(key) })
        }
        None => None,
    };
    let authorities = match &args.ca_path {
        Some(path) => Some(pem(cx, path, "ca_path").await?),
        None => None,
    };
    Ok(HttpRequest {
        method: args.method.to_uppercase(),
        url: args.url.plain(),
        headers,
        body: body.map(|(_, body)| body),
        follow: match args.follow_redirects {
            Redirects::All => Follow::All,
            Redirects::None => Follow::None,
            Redirects::Safe => Follow::Safe,
        },
        timeout: Duration::from_secs(args.timeout),
        max_body: MAX_SIZE,
        tls: Tls { verify: args.validate_certs, authorities, identity },
    })
}

/// From the arguments, or else from the URL itself.
fn basic_auth(args: &Args) -> Option<Text> {
    let in_url =
        args.url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next()?.rsplit_once('@'));
    let (user, password) = match (&args.url_username, in_url) {
        (Some(user), _) => (user.to_string(), args.url_password.as_deref().unwrap_or_default().to_string()),
        (None, Some((userinfo, _))) => {
            let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
            (user.to_string(), password.to_string())
        }
        (None, None) => return None,
    };
    Some(Text::secret(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))))
}

async fn pem(cx: &PlanCx<'_>, path: &str, argument: &str) -> Result<Arc<[u8]>, Failure> {
    let path = host_path::expand(cx.target, path).await?;
    let file = cx.target.read(&path, 1 << 20).await?;
    match &file.stat {
        Some(stat) if stat.kind == FileKind::File => Ok(Arc::from(file.content.as_slice())),
        _ => Err(Failure::new(format!("{argument}: {path} is no file of the host"))),
    }
}

async fn file_body(src: &str, remote_src: bool, cx: &PlanCx<'_>) -> Result<Body, Failure> {
    if remote_src {
        let src = host_path::expand(cx.target, src).await?;
        let file = cx.target.read(&src, MAX_SIZE).await?;
        if file.stat.is_none() {
            return Err(Failure::new(format!("Unable to open source file {src}")).value("elapsed", 0));
        }
        return Ok(Body::Bytes(Arc::from(file.content.as_slice())));
    }
    let path = cx.find("files", src)?;
    let unable = |why: String| Failure::new(format!("Unable to open source file {}: {why}", path.display()));
    let size = std::fs::metadata(&path).map_err(|e| unable(e.to_string()))?.len();
    if size > MAX_SIZE {
        return Err(unable(format!("it is larger than {MAX_SIZE} bytes")));
    }
    Ok(Body::Bytes(Arc::from(std::fs::read(&path).map_err(|e| unable(e.to_string()))?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gets_the_servers_name_for_the_file() {
        let response = |disposition: Option<&str>, url: &str| HttpResponse {
            status: 200,
            reason: String::new(),
            url: url.into(),
            headers: disposition.map(|d| ("content-disposition".into(), d.into())).into_iter().collect(),
            body: Vec::new(),
        };
        let dest = Dest { path: "/d".into(), is_directory: true };
        assert_eq!(dest.path_for(&response(Some("attachment; filename=\"../a b\""), "http://h/x")), "/d/a b");
        assert_eq!(dest.path_for(&response(None, "http://h/p/x.tar?q=/y")), "/d/x.tar");
        assert_eq!(dest.path_for(&response(None, "http://h")), "/d/index.html");
        assert_eq!(dest.path_for(&response(Some("filename=.."), "http://h/")), "/d/index.html");
    }

    #[test]
    fn a_label_shows_neither_query_nor_user() {
        let request = |url: Text| HttpRequest {
            method: "POST".into(),
            url,
            headers: Vec::new(),
            body: None,
            follow: Follow::Safe,
            timeout: Duration::ZERO,
            max_body: 0,
            tls: Tls::default(),
        };
        assert_eq!(http_step(request(Text::new("https://u:p@h/x?token=1"))).label, "POST https://h/x");
        assert_eq!(http_step(request(Text::secret("https://h/x"))).label, "POST request");
    }
}
