use super::*;

const DEBIAN: &str = "\
version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/docker-registry
  delete:
    enabled: true
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
auth:
  htpasswd:
    realm: basic-realm
    path: /etc/docker/registry
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
";

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(text: &str) -> Result<RegistryConfig, RegistryConfigError> {
    read_with(text, &[])
}

fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<RegistryConfig, RegistryConfigError> {
    RegistryConfig::read(text, "config.yml", &environment(variables))
}

fn storage_of(text: &str) -> Storage {
    read(text).expect("readable").storage
}

fn message(result: Result<RegistryConfig, RegistryConfigError>) -> String {
    result.expect_err("an error").to_string()
}

#[test]
fn the_configuration_that_debian_installs() {
    let config = read(DEBIAN).expect("readable");
    assert_eq!(
        config,
        RegistryConfig {
            storage: Storage::Filesystem { root: PathBuf::from("/var/lib/docker-registry") },
            cache: DescriptorCache::InMemory,
            delete_enabled: true,
            read_only: false,
            proxy: false,
            http_addr: Some(":5000".to_owned()),
        }
    );
}

#[test]
fn the_smallest_configurations_use_the_drivers_default_directory() {
    for text in [
        "version: 0.1\nstorage: filesystem\n",
        "version: 0.1\nstorage:\n  filesystem:\n",
        "version: 0.1\nstorage: { filesystem: {} }\n",
        "version: 0.1\nstorage: { filesystem: { maxthreads: 100 }, delete: { enabled: false } }\n",
    ] {
        assert_eq!(
            storage_of(text),
            Storage::Filesystem { root: PathBuf::from("/var/lib/registry") },
            "{text}"
        );
    }
}

#[test]
fn s3_with_and_without_an_endpoint() {
    let aws = "version: 0.1\nstorage: { s3: { bucket: b, region: eu-west-1, rootdirectory: /pre/fix/ } }\n";
    let minio = "version: 0.1\nstorage:\n  s3aws:\n    bucket: b\n    regionendpoint: http://10.0.0.1:9000\n    \
                 accesskey: 0123\n    secretkey: 'top secret'\n    forcepathstyle: true\n    secure: false\n    \
                 skipverify: yes\n";
    let plain = S3Storage {
        bucket: "b".to_owned(),
        region: Some("eu-west-1".to_owned()),
        regionendpoint: None,
        rootdirectory: "pre/fix".to_owned(),
        accesskey: None,
        secretkey: None,
        sessiontoken: None,
        forcepathstyle: None,
        secure: true,
        skipverify: false,
    };
    assert_eq!(storage_of(aws), Storage::S3(plain.clone()));
    assert_eq!(
        storage_of(minio),
        Storage::S3(S3Storage {
            region: None,
            regionendpoint: Some("http://10.0.0.1:9000".to_owned()),
            rootdirectory: String::new(),
            accesskey: Some("0123".to_owned()),
            secretkey: Some(Secret("top secret".to_owned())),
            forcepathstyle: Some(true),
            secure: false,
            skipverify: true,
            ..plain
        })
    );
}

#[test]
fn gcs_azure_and_drivers_that_are_not_supported() {
    let gcs = "version: 0.1\nstorage: { gcs: { bucket: b, keyfile: /k.json, rootdirectory: r } }\n";
    let azure = "version: 0.1\nstorage: { azure: { accountname: a, accountkey: k, container: c } }\n";
    assert_eq!(
        storage_of(gcs),
        Storage::Gcs(GcsStorage {
            bucket: "b".to_owned(),
            rootdirectory: "r".to_owned(),
            keyfile: Some(PathBuf::from("/k.json")),
            credentials: None,
        })
    );
    assert_eq!(
        storage_of(azure),
        Storage::Azure(AzureStorage {
            accountname: "a".to_owned(),
            accountkey: Some(Secret("k".to_owned())),
            connectionstring: None,
            container: "c".to_owned(),
            realm: "core.windows.net".to_owned(),
            rootdirectory: String::new(),
            serviceurl: None,
        })
    );
    assert_eq!(storage_of("version: 0.1\nstorage: inmemory\n"), Storage::Other("inmemory".to_owned()));
}

#[test]
fn credentials_written_in_line_are_kept_whole_and_secret() {
    let text = "version: 0.1\nstorage: { gcs: { bucket: b, credentials: { type: service_account, private_key: hush } } }\n";
    let Storage::Gcs(gcs) = storage_of(text) else { panic!("gcs") };
    let credentials = gcs.credentials.as_ref().expect("credentials");
    assert_eq!(credentials.expose(), r#"{"private_key":"hush","type":"service_account"}"#);
    assert!(!format!("{gcs:?}").contains("hush"));
}

#[test]
fn the_descriptor_cache_under_its_new_and_its_old_name() {
    let cache = |section: &str| {
        read(&format!("version: 0.1\nstorage: {{ filesystem: {{}}, cache: {{ {section} }} }}\n"))
            .expect("readable")
            .cache
    };
    assert_eq!(cache("blobdescriptor: inmemory"), DescriptorCache::InMemory);
    assert_eq!(cache("layerinfo: inmemory"), DescriptorCache::InMemory);
    assert_eq!(cache("blobdescriptor: inmemory, layerinfo: redis"), DescriptorCache::InMemory);
    assert_eq!(cache("blobdescriptor: '', layerinfo: inmemory"), DescriptorCache::None);
    assert_eq!(cache("blobdescriptor: memcached"), DescriptorCache::None);
    assert_eq!(cache(""), DescriptorCache::None);
}

#[test]
fn redis_as_2_8_and_as_3_x_write_it() {
    let with = |redis: &str| {
        let text = format!(
            "version: 0.1\nstorage: {{ filesystem: {{}}, cache: {{ blobdescriptor: redis }} }}\n{redis}"
        );
        read(&text).map(|config| config.cache)
    };
    let one = RedisCache {
        addrs: vec!["localhost:6379".to_owned()],
        username: None,
        password: Some(Secret("p".to_owned())),
        db: 3,
        mastername: None,
        tls: None,
    };
    let old = with("redis: { addr: 'localhost:6379', password: p, db: 3, dialtimeout: 10ms }\n");
    let new = with("redis:\n  addrs: [localhost:6379]\n  password: p\n  db: 3\n");
    let sentinels =
        with("redis: { addrs: [a:1, b:2], mastername: m, username: u, tls: { certificate: /c, key: /k } }\n");
    assert_eq!(old.expect("2.8"), DescriptorCache::Redis(one.clone()));
    assert_eq!(new.expect("3.x"), DescriptorCache::Redis(one));
    assert_eq!(
        sentinels.expect("3.x"),
        DescriptorCache::Redis(RedisCache {
            addrs: vec!["a:1".to_owned(), "b:2".to_owned()],
            username: Some("u".to_owned()),
            password: None,
            db: 0,
            mastername: Some("m".to_owned()),
            tls: Some(RedisTls { client: Some(("/c".into(), "/k".into())), rootcas: Vec::new() }),
        })
    );
    let missing = with("").expect_err("the registry would not start").to_string();
    assert!(missing.starts_with("config.yml, line 2: `redis.addr` is missing"), "{missing}");
}

#[test]
fn read_only_and_pull_through() {
    let config = read(
        "version: 0.1\nstorage:\n  filesystem: {}\n  maintenance: { readonly: { enabled: true } }\n\
         proxy: { remoteurl: https://mirror.example }\n",
    )
    .expect("readable");
    assert!(config.read_only);
    assert!(config.proxy);
    assert!(!config.delete_enabled);
}

#[test]
fn the_environment_overrides_and_creates_values() {
    let config = read_with(
        DEBIAN,
        &[
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/srv/registry"),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "false"),
            ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true"),
            ("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "redis"),
            ("REGISTRY_REDIS_ADDRS_0", "redis:6379"),
            ("REGISTRY_REDIS_DB", "2"),
            ("REGISTRY_HTTP_ADDR", "127.0.0.1:5001"),
            ("REGISTRY_PROXY_REMOTEURL", "https://mirror.example"),
            ("REGISTRY_PORT", "tcp://10.0.0.7:5000"),
            ("REGISTRY_AUTH_TOKEN_REALM", "*not yaml"),
            ("HOME", "/root"),
        ],
    )
    .expect("readable");
    assert_eq!(config.storage, Storage::Filesystem { root: PathBuf::from("/srv/registry") });
    assert!(!config.delete_enabled);
    assert!(config.read_only);
    assert!(config.proxy);
    assert_eq!(config.http_addr.as_deref(), Some("127.0.0.1:5001"));
    let DescriptorCache::Redis(redis) = config.cache else { panic!("redis") };
    assert_eq!((redis.addrs, redis.db), (vec!["redis:6379".to_owned()], 2));
}

#[test]
fn a_shorter_variable_is_applied_before_a_longer_one() {
    let config = read_with(
        DEBIAN,
        &[
            ("REGISTRY_STORAGE_S3_BUCKET", "from-variable"),
            ("REGISTRY_STORAGE", "{ s3: { region: eu-west-1 } }"),
        ],
    )
    .expect("readable");
    let Storage::S3(s3) = config.storage else { panic!("s3") };
    assert_eq!(s3.bucket, "from-variable");
    assert_eq!(config.cache, DescriptorCache::None);
}

#[test]
fn no_driver_and_several_drivers_are_errors_that_say_what_to_do() {
    for text in ["version: 0.1\n", "version: 0.1\nstorage: {}\n", "version: 0.1\nstorage: { cache: {} }\n"] {
        assert!(message(read(text)).contains("`storage` names no driver; add one"), "{text}");
    }
    let two = message(read("version: 0.1\nstorage:\n  filesystem: {}\n  s3: { bucket: b, region: r }\n"));
    assert!(two.contains("(filesystem: line 3, s3: line 4)"), "{two}");
    let from_variable = message(read_with(DEBIAN, &[("REGISTRY_STORAGE_S3_BUCKET", "b")]));
    assert!(
        from_variable.contains("(filesystem: line 8, s3: environment variable REGISTRY_STORAGE_S3_BUCKET)"),
        "{from_variable}"
    );
}

#[test]
fn errors_name_the_file_the_line_and_the_key() {
    let table = [
        (
            "version: 0.1\nstorage:\n  s3:\n    region: r\n",
            "config.yml, line 3: `storage.s3.bucket` is missing",
        ),
        ("version: 0.1\nstorage: { s3: { bucket: b } }\n", "line 2: `storage.s3.region` is missing"),
        (
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ''\n",
            "line 4: `storage.filesystem.root",
        ),
        (
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: [a]\n",
            "line 4: `storage.filesystem.rootd",
        ),
        (
            "version: 0.1\nstorage:\n  filesystem: {}\n  delete:\n    enabled: perhaps\n",
            "config.yml, line 5: `storage.delete.enabled` must be true or false",
        ),
        ("storage: filesystem\n", "config.yml: `version` is absent"),
        ("version: 2\nservices: {}\n", "config.yml: `version` is `2`"),
        ("version: 0.1\nstorage: [\n", "config.yml is not YAML; give the registry's own config.yml"),
    ];
    for (text, wanted) in table {
        let message = message(read(text));
        assert!(message.contains(wanted), "{message}");
    }
}

#[test]
fn a_variable_that_is_not_yaml_is_named_without_its_value() {
    let error = read_with(DEBIAN, &[("REGISTRY_STORAGE_S3_SECRETKEY", "'hush")]).expect_err("not YAML");
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("REGISTRY_STORAGE_S3_SECRETKEY"), "{shown}");
    assert!(!shown.contains("hush"), "{shown}");
}

#[test]
fn secrets_are_not_in_debug_output() {
    let config = read(
        "version: 0.1\nstorage:\n  s3: { bucket: b, region: r, secretkey: hush1, sessiontoken: hush2 }\n  \
         cache: { blobdescriptor: redis }\nredis: { addr: 'a:1', password: hush3 }\n",
    )
    .expect("readable");
    assert!(!format!("{config:?}").contains("hush"));
}
