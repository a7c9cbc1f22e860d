//! The table. What an application answers without being asked to sign in, at the port that its image listens on; nothing that a
//! sealed vault, an election or a lack of disk space would fail, since a restart mends none of these.

use super::Preset;

const fn application(name: &'static str, images: &'static [&'static str], checks: &'static [&'static str]) -> Preset {
    Preset { name, images, stateful: false, checks }
}

const fn stateful(name: &'static str, images: &'static [&'static str], checks: &'static [&'static str]) -> Preset {
    Preset { name, images, stateful: true, checks }
}

/// A check that fails for want of what the application needs itself alerts.
pub(super) static TABLE: &[Preset] = &[
    application(
        "alertmanager",
        &["alertmanager"],
        &[r#"
name = "healthy"
type = "http"
url = "http://{address}:9093/-/healthy"
"#],
    ),
    // The server; its worker is another container of the same image.
    application(
        "authentik",
        &["goauthentik/server"],
        &[
            r#"
name = "live"
type = "http"
url = "http://{address}:9000/-/health/live/"
"#,
            r#"
name = "ready"
type = "http"
url = "http://{address}:9000/-/health/ready/"
on_failure = "alert"
"#,
        ],
    ),
    stateful(
        "cassandra",
        &["cassandra", "scylla"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:9042"
"#],
    ),
    stateful(
        "clickhouse",
        &["clickhouse-server", "clickhouse"],
        &[r#"
name = "ping"
type = "http"
url = "http://{address}:8123/ping"
"#],
    ),
    stateful("cockroach", &["cockroach"], &[]),
    stateful("consul", &["consul"], &[]),
    stateful(
        "couchdb",
        &["couchdb"],
        &[r#"
name = "up"
type = "http"
url = "http://{address}:5984/_up"
"#],
    ),
    stateful(
        "elasticsearch",
        &["elasticsearch"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:9200"
"#],
    ),
    stateful("etcd", &["etcd"], &[]),
    application(
        "forgejo",
        &["forgejo"],
        &[r#"
name = "health"
type = "http"
url = "http://{address}:3000/api/healthz"
"#],
    ),
    application(
        "gitea",
        &["gitea"],
        &[r#"
name = "health"
type = "http"
url = "http://{address}:3000/api/healthz"
"#],
    ),
    application(
        "grafana",
        &["grafana", "grafana-oss", "grafana-enterprise"],
        &[r#"
name = "health"
type = "http"
url = "http://{address}:3000/api/health"
"#],
    ),
    application(
        "home-assistant",
        &["home-assistant", "homeassistant"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:8123"
"#],
    ),
    // It answers only names that it was told of, and this one.
    application(
        "homepage",
        &["gethomepage/homepage", "benphelps/homepage"],
        &[r#"
name = "api"
type = "http"
url = "http://{address}:3000/api/healthcheck"
headers = { Host = "localhost:3000" }
"#],
    ),
    application(
        "immich",
        &["immich-server"],
        &[r#"
name = "ping"
type = "http"
url = "http://{address}:2283/api/server/ping"
"#],
    ),
    stateful(
        "influxdb",
        &["influxdb"],
        &[r#"
name = "ping"
type = "http"
url = "http://{address}:8086/ping"
"#],
    ),
    application(
        "jellyfin",
        &["jellyfin"],
        &[r#"
name = "health"
type = "http"
url = "http://{address}:8096/health"
"#],
    ),
    stateful("kafka", &["kafka", "kafka-native", "cp-kafka"], &[]),
    stateful(
        "mariadb",
        &["mariadb", "mariadb-galera"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:3306"
"#],
    ),
    stateful(
        "meilisearch",
        &["meilisearch"],
        &[r#"
name = "health"
type = "http"
url = "http://{address}:7700/health"
"#],
    ),
    stateful(
        "minio",
        &["minio"],
        &[r#"
name = "live"
type = "http"
url = "http://{address}:9000/minio/health/live"
"#],
    ),
    stateful(
        "mongo",
        &["mongo", "mongodb", "percona-server-mongodb", "mongodb-community-server"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:27017"
"#],
    ),
    application(
        "mosquitto",
        &["eclipse-mosquitto"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:1883"
"#],
    ),
    stateful(
        "mssql",
        &["mssql/server"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:1433"
"#],
    ),
    stateful(
        "mysql",
        &["mysql", "mysql-server", "percona", "percona-server"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:3306"
"#],
    ),
    stateful(
        "neo4j",
        &["neo4j"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:7687"
"#],
    ),
    // The image with Apache. It trusts this name alone without being told to.
    application(
        "nextcloud",
        &["nextcloud"],
        &[r#"
name = "status"
type = "http"
url = "http://{address}:80/status.php"
headers = { Host = "localhost" }
"#],
    ),
    application(
        "ntfy",
        &["ntfy"],
        &[r#"
name = "health"
type = "http"
url = "http://{address}:80/v1/health"
"#],
    ),
    stateful(
        "opensearch",
        &["opensearch"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:9200"
"#],
    ),
    stateful(
        "postgres",
        &[
            "postgres",
            "postgresql",
            "postgis",
            "timescaledb",
            "timescaledb-ha",
            "pgvector",
            "pgvecto-rs",
            "vchord-postgres",
            "spilo",
        ],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:5432"
"#],
    ),
    application(
        "prometheus",
        &["prometheus"],
        &[r#"
name = "healthy"
type = "http"
url = "http://{address}:9090/-/healthy"
"#],
    ),
    stateful(
        "qdrant",
        &["qdrant"],
        &[r#"
name = "health"
type = "http"
url = "http://{address}:6333/healthz"
"#],
    ),
    stateful(
        "rabbitmq",
        &["rabbitmq"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:5672"
"#],
    ),
    stateful(
        "redis",
        &["redis", "redis-stack", "redis-stack-server", "keydb", "dragonfly"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:6379"
"#],
    ),
    application(
        "syncthing",
        &["syncthing"],
        &[r#"
name = "health"
type = "http"
url = "http://{address}:8384/rest/noauth/health"
"#],
    ),
    // With `ping` in its configuration.
    application(
        "traefik",
        &["traefik"],
        &[r#"
name = "ping"
type = "http"
url = "http://{address}:8080/ping"
"#],
    ),
    application(
        "uptime-kuma",
        &["uptime-kuma"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:3001"
"#],
    ),
    stateful(
        "valkey",
        &["valkey"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:6379"
"#],
    ),
    stateful("vault", &["vault", "openbao"], &[]),
    application(
        "vaultwarden",
        &["vaultwarden/server", "vaultwarden"],
        &[r#"
name = "alive"
type = "http"
url = "http://{address}:80/alive"
"#],
    ),
    stateful(
        "victoria-metrics",
        &["victoria-metrics"],
        &[r#"
name = "health"
type = "http"
url = "http://{address}:8428/health"
"#],
    ),
    stateful(
        "zookeeper",
        &["zookeeper", "cp-zookeeper"],
        &[r#"
name = "port"
type = "tcp"
address = "{address}:2181"
"#],
    ),
];
