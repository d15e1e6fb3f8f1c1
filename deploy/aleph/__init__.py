"""`waypost deploy aleph`: a node on a virtual machine of Aleph Cloud, from nothing to its advert, and away again.

Beside it `waypost deploy offers`, `status`, `logs` and `destroy`.

    config      the options of each command     state       what a deployment has come to, in a file
    sdk         Aleph's SDK, imported here      web         HTTP to hosts that may say anything
    network     one node of the network         host        one compute host
    hosts       the list of compute hosts       pricing     what a machine costs
    plan        the choice and its price        paying      the messages that cost something
    buying      from a wish to one machine      taking_over a machine that only the network knows
    machine     the machine over SSH            publishing  delegation, advert, challenge
    up, offers, status, logs, destroy           the commands

Not here: what is in the image (deploy.vm), and the node itself.
"""
