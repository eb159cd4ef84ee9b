//! Every module, one line each.

use super::{Entry, entry};

pub static MODULES: &[Entry] = &[
    entry::<super::apt::Apt>(),
    entry::<super::apt::Package>(),
    entry::<super::archive_decrypt::AgeDecrypt>(),
    entry::<super::archive_decrypt::ArchiveDecrypt>(),
    entry::<super::archive_info::ArchiveInfo>(),
    entry::<super::assemble::Assemble>(),
    entry::<super::blockinfile::BlockInFile>(),
    entry::<super::command::RunCommand>(),
    entry::<super::copy::Copy>(),
    entry::<super::fetch::Fetch>(),
    entry::<super::docker_compose_v2::DockerComposeV2>(),
    entry::<super::dotenv::Dotenv>(),
    entry::<super::dotenv_info::DotenvInfo>(),
    entry::<super::file::File>(),
    entry::<super::find::Find>(),
    entry::<super::fingerprint::Fingerprint>(),
    entry::<super::getent::GetEnt>(),
    entry::<super::gpg_key::GpgKey>(),
    entry::<super::group::Group>(),
    entry::<super::lineinfile::LineInFile>(),
    entry::<super::postgresql::query::PostgresqlQuery>(),
    entry::<super::postgresql::user::PostgresqlUser>(),
    entry::<super::ping::Ping>(),
    entry::<super::postgresql_login::PostgresqlLogin>(),
    entry::<super::raw::Raw>(),
    entry::<super::replace::Replace>(),
    entry::<super::secret_file::SecretFile>(),
    entry::<super::secret_search::SecretSearch>(),
    entry::<super::script::Script>(),
    entry::<super::setup::GatherFacts>(),
    entry::<super::setup::Setup>(),
    entry::<super::shell::RunShell>(),
    entry::<super::slurp::Slurp>(),
    entry::<super::stat::StatFile>(),
    entry::<super::stays_well::StaysWell>(),
    entry::<super::tempfile::TempFile>(),
    entry::<super::template::Template>(),
    entry::<super::uri::Uri>(),
    entry::<super::user::User>(),
    entry::<super::wait_for::WaitFor>(),
    entry::<super::wait_for_connection::WaitForConnection>(),
];

/// By short or fully qualified name (`copy`, `ansible.builtin.copy`, `ansible.legacy.copy`).
pub fn find(name: &str) -> Option<&'static Entry> {
    let (collection, short) = match name.rsplit_once('.') {
        Some(("ansible.legacy", short)) => (Some("ansible.builtin"), short),
        Some((collection, short)) => (Some(collection), short),
        None => (None, name),
    };
    MODULES.iter().find(|m| m.name == short && collection.is_none_or(|c| c == m.collection))
}
