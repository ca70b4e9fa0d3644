"""The chart renders to objects that fit together, for every set of values that people use."""

import pathlib

import pytest

CHART = pathlib.Path(__file__).parents[3] / "deploy/chart"

VALUE_SETS = {
    "defaults": (),
    "native": ("routingMode=native", "autoDirectNodeRoutes=true", "ipv4NativeRoutingCIDR=10.0.0.0/8"),
    "no kube-proxy": ("k8sServiceHost=192.168.10.10", "k8sServicePort=6443"),
    "elsewhere": ("cni.binPath=/var/lib/cni/bin", "cni.confPath=/var/lib/cni/net.d", "cgroup.hostRoot=/run/cgroup2"),
    "own registry": ("image.repository=r.example/seta", "image.tag=v9", "imagePullSecrets[0].name=pull"),
    "bare": ("tolerations=null", "operator.tolerations=null", "resources=null", "nodeSelector=null"),
}
WORKLOADS = {"DaemonSet", "Deployment"}
CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding"}


@pytest.fixture(params=VALUE_SETS.values(), ids=VALUE_SETS.keys())
def documents(request, render):
    return render(*request.param)


def of_kind(documents, *kinds):
    return [document for document in documents if document["kind"] in kinds]


def pod_of(workload):
    return workload["spec"]["template"]["spec"]


def container(documents, kind):
    (workload,) = of_kind(documents, kind)
    (found,) = pod_of(workload)["containers"]
    return found


def test_every_object_is_named_once_and_has_its_namespace(documents):
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(names) == len(set(names))
    for document in documents:
        expected = None if document["kind"] in CLUSTER_WIDE else "kube-system"
        assert document["metadata"].get("namespace") == expected


def test_selectors_match_the_pods_they_make(documents):
    for workload in of_kind(documents, *WORKLOADS):
        wanted = workload["spec"]["selector"]["matchLabels"].items()
        assert wanted <= workload["spec"]["template"]["metadata"]["labels"].items()


def test_every_mount_has_its_volume_and_every_volume_its_mount(documents):
    for workload in of_kind(documents, *WORKLOADS):
        pod = pod_of(workload)
        mounted = {mount["name"] for one in pod["containers"] for mount in one["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_every_account_that_is_named_exists(documents):
    accounts = {document["metadata"]["name"] for document in of_kind(documents, "ServiceAccount")}
    named = {pod_of(workload)["serviceAccountName"] for workload in of_kind(documents, *WORKLOADS)}
    bindings = of_kind(documents, "ClusterRoleBinding", "RoleBinding")
    bound = {subject["name"] for binding in bindings for subject in binding["subjects"]}
    assert named == accounts
    assert bound <= accounts


def test_every_role_is_bound_and_every_binding_has_its_role(documents):
    roles = {(role["kind"], role["metadata"]["name"]) for role in of_kind(documents, "ClusterRole", "Role")}
    bindings = of_kind(documents, "ClusterRoleBinding", "RoleBinding")
    assert {(one["roleRef"]["kind"], one["roleRef"]["name"]) for one in bindings} == roles


def test_nobody_is_privileged_and_root_file_systems_are_read_only(documents):
    for workload in of_kind(documents, *WORKLOADS):
        for one in pod_of(workload)["containers"]:
            context = one["securityContext"]
            assert "privileged" not in context
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"]["drop"] == ["ALL"]


def test_the_operator_has_no_capability_and_is_not_root(documents):
    context = container(documents, "Deployment")["securityContext"]
    assert "add" not in context["capabilities"]
    assert context["runAsNonRoot"] is True


def test_the_agent_has_the_two_capabilities_that_it_needs(documents):
    assert container(documents, "DaemonSet")["securityContext"]["capabilities"]["add"] == ["NET_ADMIN", "SYS_ADMIN"]


def test_no_role_has_a_wildcard(documents):
    for role in of_kind(documents, "ClusterRole", "Role"):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_the_api_server_is_where_the_values_say(render):
    documents = render(*VALUE_SETS["no kube-proxy"])
    for kind in WORKLOADS:
        env = {variable["name"]: variable.get("value") for variable in container(documents, kind)["env"]}
        assert (env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"]) == ("192.168.10.10", "6443")


def test_without_those_values_the_pods_environment_is_kubernetes_own(render):
    env = [variable["name"] for variable in container(render(), "DaemonSet")["env"]]
    assert env == ["K8S_NODE_NAME", "K8S_POD_NAME"]


def test_paths_on_the_host_follow_the_values(render):
    documents = render(*VALUE_SETS["elsewhere"])
    (agents,) = of_kind(documents, "DaemonSet")
    paths = {one["name"]: one["hostPath"]["path"] for one in pod_of(agents)["volumes"] if "hostPath" in one}
    mounts = {one["name"]: one["mountPath"] for one in container(documents, "DaemonSet")["volumeMounts"]}
    assert (paths["cni-bin"], mounts["cni-bin"]) == ("/var/lib/cni/bin", "/host/opt/cni/bin")
    assert (paths["cni-conf"], mounts["cni-conf"]) == ("/var/lib/cni/net.d", "/host/etc/cni/net.d")
    assert paths["cgroup"] == mounts["cgroup"] == "/run/cgroup2"


def test_images_follow_the_values(render):
    documents = render(*VALUE_SETS["own registry"])
    (agents,) = of_kind(documents, "DaemonSet")
    assert container(documents, "DaemonSet")["image"] == "r.example/seta:v9"
    assert container(documents, "Deployment")["image"] == "ghcr.io/seta-net/seta-operator:0.1.0"
    assert pod_of(agents)["imagePullSecrets"] == [{"name": "pull"}]


def test_a_changed_value_rolls_the_pods_and_an_unchanged_one_does_not(render):
    def checksum(*values):
        (agents,) = of_kind(render(*values), "DaemonSet")
        return agents["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum() == checksum("image.tag=v9")
    assert checksum() != checksum("routingMode=native")


def test_the_operator_starts_where_no_node_is_ready_and_leaves_a_node_that_is_gone(render):
    (operator,) = of_kind(render(), "Deployment")
    seconds = {
        (one.get("key", ""), one["effect"]): one.get("tolerationSeconds") for one in pod_of(operator)["tolerations"]
    }
    assert seconds == {
        ("", "NoSchedule"): None,
        ("node.kubernetes.io/not-ready", "NoExecute"): None,
        ("node.kubernetes.io/unreachable", "NoExecute"): 30,
    }


def test_lint_finds_nothing(helm):
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout
