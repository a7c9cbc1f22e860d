use iaso_policy::id::HostId;
use iaso_policy::time::{Boot, Mono, Now, Wall};

use super::*;
use crate::engine::ContainerDetail;
use crate::engine::scripted::{id, running};
use crate::supervisor::rollouts::tests::{config, fleet};
use crate::system::tasks::Tasks;

const NOW: Now = Now { mono: Mono(2), wall: Wall(2), boot: Boot(1) };

/// A running container with these labels.
fn container(letter: char, name: &str, labels: &[(&str, &str)]) -> ContainerDetail {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ContainerDetail { name: name.to_owned(), labels, ..running(id(letter), 5) }
}

/// A watched container of the Compose project `shop`, which says by Compose's label what it needs.
fn of_shop(letter: char, service: &str, depends_on: &str) -> ContainerDetail {
    let labels = [
        ("iaso.enable", "true"),
        ("com.docker.compose.project", "shop"),
        ("com.docker.compose.service", service),
        ("com.docker.compose.depends_on", depends_on),
    ];
    container(letter, &format!("shop-{service}-1"), &labels)
}

fn known(text: &str, containers: Vec<ContainerDetail>) -> Fleet {
    let mut fleet = Fleet::new(config(text), None);
    assert!(fleet.listed(HostId(0), containers, Mono(1), NOW).rewired);
    fleet
}

fn no_files() -> Files {
    Files::new(Tasks::new())
}

fn number(fleet: &Fleet, name: &str) -> ServiceId {
    fleet.named(name).unwrap_or_else(|| panic!("no service {name}"))
}

/// What a service needs: the names of what is watched, how what is not stands, the condition, and whether it restarts.
fn needs_of(fleet: &Fleet, name: &str) -> Vec<(Vec<String>, Option<bool>, Condition, Restarts)> {
    let shown = |id: &ServiceId| fleet.service(*id).unwrap().subject.name.to_string();
    let needs = wiring(fleet, &no_files()).needs.remove(&number(fleet, name)).unwrap_or_default();
    let shown = |need: Need| (need.on.iter().map(shown).collect(), need.unwatched, need.until, need.restarts);
    needs.into_iter().map(shown).collect()
}

fn on(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn names_stand_for_services_of_the_file_alone() {
    let text = "[services.web]\ncontainer = \"web\"\ndepends_on = [\"db\", \"job\"]\n[services.db]\ncontainer = \"database\"\n\
                [services.job]\ncontainer = \"job\"\n";
    let config = config(text);
    // A container that goes by the name of another's service is not that service.
    let fleet = fleet(&config, &[("db", None), ("database", None), ("web", None)]);
    let number =
        |name: &str| (0..).map(ServiceId).find(|id| *fleet.service(*id).unwrap().subject.name == *name).unwrap();
    let need = |on: Vec<ServiceId>| Need { on, unwatched: None, until: Condition::Healthy, restarts: Restarts::Never };
    let expected = vec![need(vec![number("db")]), need(Vec::new())];
    assert_eq!(wiring(&fleet, &no_files()).needs, BTreeMap::from([(number("web"), expected)]));
}

#[test]
fn compose_names_services_of_the_same_project_on_the_same_host() {
    let other = [
        ("iaso.enable", "true"),
        ("com.docker.compose.project", "other"),
        ("com.docker.compose.service", "cache"),
        ("com.docker.compose.depends_on", "db:service_healthy:false"),
    ];
    let mut second = of_shop('c', "db", "");
    second.labels.insert("com.docker.compose.container-number".to_owned(), "2".to_owned());
    let fleet = known(
        "",
        vec![
            of_shop('a', "web", "db:service_healthy:false,cache:service_started:false,job:service_fine:false"),
            of_shop('b', "db", ""),
            second,
            container('d', "cache", &[("iaso.enable", "true")]),
            container('e', "other-cache-1", &other),
        ],
    );
    let expected = [
        (on(&["shop-db", "shop-db-2"]), None, Condition::Healthy, Restarts::Never),
        (vec![], None, Condition::Started, Restarts::Never),
    ];
    assert_eq!(needs_of(&fleet, "shop-web"), expected);
    assert_eq!(
        needs_of(&fleet, "other-cache"),
        [(vec![], None, Condition::Healthy, Restarts::Never)],
        "another project's"
    );
    assert_eq!(needs_of(&fleet, "shop-db"), []);
}

#[test]
fn what_compose_says_also_counts_for_services_of_the_file() {
    let text =
        "[services.front]\ncompose = \"shop/web\"\ndepends_on = [\"store\"]\n[services.store]\ncompose = \"shop/db\"\n";
    let mut web = of_shop('a', "web", "db:service_started:true");
    web.labels.insert("iaso.depends_on".to_owned(), "shop-job".to_owned());
    let fleet = known(text, vec![web, of_shop('b', "db", ""), of_shop('c', "job", "")]);
    let expected = [
        (on(&["store"]), None, Condition::Healthy, Restarts::Never),
        (on(&["store"]), None, Condition::Started, Restarts::Healed),
    ];
    assert_eq!(needs_of(&fleet, "front"), expected, "its other labels do not count");
}

#[test]
fn what_is_gone_for_a_moment_is_needed_all_the_same() {
    let mut fleet = known("", vec![of_shop('a', "web", "db:service_healthy:false"), of_shop('b', "db", "")]);
    let news = fleet.looked(HostId(0), &id('b'), None, Mono(3), NOW);
    assert!(news.rewired);
    assert_eq!(needs_of(&fleet, "shop-web"), [(on(&["shop-db"]), None, Condition::Healthy, Restarts::Never)]);
}

#[test]
fn a_label_names_what_is_on_its_own_host() {
    let own =
        |letter, name: &str, needs| container(letter, name, &[("iaso.enable", "true"), ("iaso.depends_on", needs)]);
    let mut of_shop = of_shop('a', "web", "");
    of_shop.labels.insert("iaso.depends_on".to_owned(), "db, data,plain,nobody".to_owned());
    let data = container('d', "x", &[("iaso.enable", "true"), ("iaso.name", "data")]);
    let fleet = known(
        "",
        vec![of_shop, self::of_shop('b', "db", ""), own('c', "db", "db"), data, container('e', "plain", &[])],
    );
    let needs: Vec<_> = needs_of(&fleet, "shop-web").into_iter().map(|(on, unwatched, ..)| (on, unwatched)).collect();
    let none = || (Vec::new(), None);
    assert_eq!(needs, [(on(&["shop-db"]), None), (on(&["data"]), None), (vec![], Some(true)), none()]);
    assert_eq!(needs_of(&fleet, "db"), [], "itself");
}

#[test]
fn who_lives_in_the_network_of_another_or_is_linked_to_it_needs_it() {
    let watched = [("iaso.enable", "true")];
    let mode = |letter: char| format!("container:{}", id(letter).as_str());
    let app = ContainerDetail { network_mode: mode('b'), ..container('a', "app", &watched) };
    let old = ContainerDetail { links: BTreeSet::from(["vpn".to_owned()]), ..container('c', "old", &watched) };
    let lost = ContainerDetail { network_mode: mode('f'), ..container('d', "lost", &watched) };
    let fleet = known("", vec![app, container('b', "vpn", &watched), old, lost]);
    assert_eq!(needs_of(&fleet, "app"), [(on(&["vpn"]), None, Condition::Started, Restarts::Started)]);
    assert_eq!(needs_of(&fleet, "old"), [(on(&["vpn"]), None, Condition::Started, Restarts::Never)]);
    assert_eq!(needs_of(&fleet, "lost"), [(vec![], None, Condition::Started, Restarts::Started)], "its owner is gone");
}

#[test]
fn what_nobody_watches_is_read_from_the_engine() {
    use EngineHealth::{None as Unchecked, Starting, Unhealthy};
    let states = [
        (ContainerState::Running(Unchecked), [true, true, false]),
        (ContainerState::Running(Starting), [true, false, false]),
        (ContainerState::Running(Unhealthy), [true, false, false]),
        (ContainerState::Exited(0), [true, true, true]),
        (ContainerState::Exited(1), [false, false, false]),
        (ContainerState::Paused, [false, false, false]),
        (ContainerState::Created, [false, false, false]),
    ];
    for (state, expected) in states {
        let mut db = of_shop('b', "db", "");
        db.labels.insert("iaso.enable".to_owned(), "no".to_owned());
        let text = "db:service_started:false,db:service_healthy:false,db:service_completed_successfully:false";
        let fleet = known("", vec![of_shop('a', "web", text), ContainerDetail { state, ..db }]);
        let found: Vec<_> =
            needs_of(&fleet, "shop-web").into_iter().map(|(on, unwatched, ..)| (on, unwatched)).collect();
        assert_eq!(found, expected.map(|met| (vec![], Some(met))), "{state:?}");
    }
}

#[test]
fn what_its_engine_starts_again_has_not_done_its_work() {
    let exited = |restart| {
        let mut db = of_shop('b', "db", "");
        db.labels.insert("iaso.enable".to_owned(), "no".to_owned());
        let db = ContainerDetail { state: ContainerState::Exited(0), restart, ..db };
        let fleet = known("", vec![of_shop('a', "web", "db:service_started:false"), db]);
        needs_of(&fleet, "shop-web")[0].1
    };
    assert_eq!(exited(RestartPolicy::Always), Some(false));
    assert_eq!(exited(RestartPolicy::OnFailure(3)), Some(true));
}

#[test]
fn needs_that_lead_in_a_circle_do_not_count() {
    let web = of_shop('a', "web", "db:service_healthy:false");
    let db = of_shop('b', "db", "web:service_started:false,disk:service_started:false");
    let fleet = known("", vec![web, db, of_shop('c', "disk", "")]);
    let both = vec![number(&fleet, "shop-web"), number(&fleet, "shop-db")];
    assert_eq!(wiring(&fleet, &no_files()).circles, BTreeSet::from([both]));
    assert_eq!(needs_of(&fleet, "shop-web"), []);
    assert_eq!(needs_of(&fleet, "shop-db"), [(on(&["shop-disk"]), None, Condition::Started, Restarts::Never)]);
}

/// A watched container that Compose 1 made from a file.
fn of_compose_1(letter: char, service: &str, file: &std::path::Path) -> ContainerDetail {
    let mut made = of_shop(letter, service, "");
    made.labels.remove("com.docker.compose.depends_on");
    let folder = file.parent().unwrap().to_str().unwrap().to_owned();
    made.labels.insert("com.docker.compose.project.working_dir".to_owned(), folder);
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    made.labels.insert("com.docker.compose.project.config_files".to_owned(), name);
    made
}

#[tokio::test]
async fn what_no_label_says_is_read_from_the_file_again_when_a_container_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("docker-compose.yml");
    let web = || of_compose_1('a', "web", &file);
    let db = of_shop('b', "db", "");
    let mut fleet = known("", vec![web(), db.clone()]);
    let mut files = no_files();
    let on_db = |fleet: &Fleet, files: &Files| {
        let needs = wiring(fleet, files).needs;
        let web = needs.get(&number(fleet, "shop-web")).into_iter().flatten();
        web.map(|need| (need.on == [number(fleet, "shop-db")], need.until)).collect::<Vec<_>>()
    };
    // It is not there, which is told once and asked again only for another container.
    for _ in 0..2 {
        files.keep_up(&fleet);
    }
    let read = files.next().await;
    files.take(read);
    assert_eq!(on_db(&fleet, &files), []);
    std::fs::write(&file, "services: {web: {depends_on: {db: {condition: service_healthy}}}}").unwrap();
    files.keep_up(&fleet);
    assert!(files.projects().all(|under_way| !under_way), "nothing is new");
    let again = ContainerDetail { id: id('c'), ..web() };
    fleet.listed(HostId(0), vec![again, db], Mono(3), NOW);
    files.keep_up(&fleet);
    let read = files.next().await;
    files.take(read);
    assert_eq!(on_db(&fleet, &files), [(true, Condition::Healthy)]);
    // What was read stays while it cannot be read, and goes with its containers.
    std::fs::remove_file(&file).unwrap();
    files.forget();
    files.keep_up(&fleet);
    let read = files.next().await;
    files.take(read);
    assert_eq!(on_db(&fleet, &files), [(true, Condition::Healthy)]);
    fleet.listed(HostId(0), Vec::new(), Mono(4), NOW);
    files.keep_up(&fleet);
    assert_eq!(files.projects().count(), 0);
}

#[test]
fn files_of_another_machine_are_not_read() {
    let file = std::path::Path::new("/srv/shop/docker-compose.yml");
    let fleet = known("[hosts.nas]\nurl = \"tcp://192.168.7.7:2375\"\n", vec![of_compose_1('a', "web", file)]);
    let mut files = no_files();
    files.keep_up(&fleet);
    assert_eq!(files.projects().count(), 0);
}

#[test]
fn what_a_label_names_and_nobody_is_is_noted_and_what_is_not_watched_is_named() {
    let web = [("iaso.enable", "true"), ("iaso.depends_on", "nobody,db,cache")];
    let db = ContainerDetail { state: ContainerState::Exited(1), ..container('b', "db", &[]) };
    let front = [("iaso.enable", "true"), ("iaso.depends_on", "web")];
    let containers =
        vec![container('a', "web", &web), db, container('c', "cache", &[]), container('d', "front", &front)];
    let fleet = known("", containers);
    let (web, front) = (number(&fleet, "web"), number(&fleet, "front"));
    let Wiring { needs, unwatched, unknown, .. } = wiring(&fleet, &no_files());
    assert_eq!(unknown, BTreeSet::from([(web, "nobody".to_owned())]));
    let told = Needs { told: needs, unwatched, ..Needs::new(Tasks::new()) };
    for service in [web, front] {
        assert_eq!(told.waits_for(service), [Arc::from("db")]);
    }
}

#[tokio::test]
async fn reads_that_hang_are_few_and_told() {
    static STARTED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    static HANGS: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let disk = HANGS.lock().unwrap();
    let mut files = Files::by(Tasks::new(), |_| {
        STARTED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        drop(HANGS.lock());
        Ok(BTreeMap::new())
    });
    let letters = 'a'..='f';
    let made = letters.map(|letter| of_compose_1(letter, "web", std::path::Path::new(&format!("/srv/{letter}/c.yml"))));
    let made = made.enumerate().map(|(n, mut made)| {
        made.name = format!("web-{n}");
        made.labels.insert("com.docker.compose.project".to_owned(), format!("p{n}"));
        made
    });
    let fleet = known("", made.collect());
    files.keep_up(&fleet);
    files.keep_up(&fleet);
    assert_eq!(files.projects().filter(|under_way| *under_way).count(), 4);
    drop(disk);
    for _ in 0..6 {
        let read = files.next().await;
        files.take(read);
        files.keep_up(&fleet);
    }
    assert_eq!(STARTED.load(std::sync::atomic::Ordering::SeqCst), 6);
    assert!(files.projects().all(|under_way| !under_way));
}
