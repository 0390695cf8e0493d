"""The proxy server: takes agents' outbound tunnels and carries kube-apiserver's dials to them.

identifiers   what an agent says of itself
identity      what an agent's credential vouches for (pure); vouching refuses what goes beyond it
registry      which agents are connected (pure)
strategies    which of them gets a dial (pure)
dispatch      one dial: pick an agent, ask it, answer the frontend
audit         what is recorded of a dial (pure); audit_log writes it
agents        AgentService: an agent's stream
connect       the HTTP CONNECT frontend
proxy         the gRPC frontend (ProxyService)
frontend      a listener that tells the two apart by their first bytes
sampling      once a second: rates of the last minutes, and which connections do not move
api           JSON about it all (overview, connections, standing); dashboard is the page that shows it
admin         the admin port: both, for those they are meant for
cli, app      options, and the parts wired together
"""
