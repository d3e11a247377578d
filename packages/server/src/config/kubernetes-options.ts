import { declareOption } from "./option.ts";
import { parseChoice, parseInteger, parseLabel, parseOptionalFile, parseOptionalText, parseSwitch, parseText } from "./values.ts";

/** What only a cluster needs; `--platform` itself says whether it does. */
export const KUBERNETES_OPTIONS = {
  platform: declareOption("platform", {
    group: "Kubernetes",
    placeholder: "PLATFORM",
    help: "standalone: this machine alone. kubernetes: functions are custom resources, their replicas pods; needs --amqp-url for queues.",
    default: "standalone",
    parse: parseChoice(["standalone", "kubernetes"]),
  }),
  functionsNamespace: declareOption("namespace", {
    group: "Kubernetes",
    placeholder: "NAMESPACE",
    help: "Namespace of the functions, their replicas and Services.",
    default: "kube-serverless",
    parse: parseLabel,
  }),
  systemNamespace: declareOption("system-namespace", {
    group: "Kubernetes",
    placeholder: "NAMESPACE",
    help: "Namespace of the gateways, their Service, Secrets and Lease.",
    default: "kube-serverless-system",
    parse: parseLabel,
  }),
  gatewayService: declareOption("gateway-service", {
    group: "Kubernetes",
    placeholder: "NAME",
    help: "Service in front of the gateways, in the system namespace; every function's own name leads there.",
    default: "kube-serverless",
    parse: parseLabel,
  }),
  clusterDomain: declareOption("cluster-domain", {
    group: "Kubernetes",
    placeholder: "DOMAIN",
    help: "DNS domain of the cluster.",
    default: "cluster.local",
    parse: parseText,
  }),
  peerPort: declareOption("peer-port", {
    group: "Kubernetes",
    placeholder: "PORT",
    help: "Port on which gateways hear each other.",
    default: "8081",
    parse: parseInteger(0, 65535),
  }),
  systemPort: declareOption("system-port", {
    group: "Kubernetes",
    placeholder: "PORT",
    help: "Port of probes and /metrics; 0 takes a free one and logs it.",
    default: "9090",
    parse: parseInteger(0, 65535),
  }),
  podName: declareOption("pod-name", {
    group: "Kubernetes",
    placeholder: "NAME",
    help: "This gateway's own pod, by the downward API; the host's name outside a cluster.",
    parse: parseOptionalText,
  }),
  podUid: declareOption("pod-uid", {
    group: "Kubernetes",
    placeholder: "UID",
    help: "Uid of this gateway's pod.",
    parse: parseOptionalText,
  }),
  podIp: declareOption("pod-ip", {
    group: "Kubernetes",
    placeholder: "ADDRESS",
    help: "Address of this gateway's pod, at which its peers reach it.",
    parse: parseOptionalText,
  }),
  nodeName: declareOption("node-name", {
    group: "Kubernetes",
    placeholder: "NAME",
    help: "Node of this gateway's pod.",
    parse: parseOptionalText,
  }),
  kubeconfigFile: declareOption("kubeconfig", {
    group: "Kubernetes",
    variable: "KUBECONFIG",
    placeholder: "FILE",
    help: "How to reach the API server from outside a cluster; a pod has its service account.",
    parse: parseOptionalFile,
  }),
  apiServerHost: declareOption("api-server-host", {
    group: "Kubernetes",
    variable: "KUBERNETES_SERVICE_HOST",
    placeholder: "ADDRESS",
    help: "Address of the API server, as every pod is told it.",
    parse: parseOptionalText,
  }),
  apiServerPort: declareOption("api-server-port", {
    group: "Kubernetes",
    variable: "KUBERNETES_SERVICE_PORT",
    placeholder: "PORT",
    help: "Port of the API server.",
    default: "443",
    parse: parseInteger(1, 65535),
  }),
  removeReplicas: declareOption("remove-replicas", {
    group: "Kubernetes",
    help: "Ends the gateways and every replica, and then itself; the chart does it before it is uninstalled.",
    default: "false",
    hidden: true,
    parse: parseSwitch,
  }),
} as const;
