"""The counters side by side: who counts what a network computes, who does not, and what asking costs.

Each tool weighs each case in a process of its own, under a limit of time and memory, and what it
answers stands beside a number that was derived by hand. A tool that crashes has answered too.

The rooms: `cases` holds what is weighed and the arithmetic, without a framework; `networks` builds it;
`tools` asks each tool in its own words; `worker` is the process that does so and measures it; `asking`
starts workers; `verdicts` compares; `speed` takes turns over networks; `report` writes it all down;
`install` makes the environment that the tools live in.

What is compared is the multiply-accumulates of one forward pass and the parameters. MACs that are not
of a matrix product, an attention or a convolution (a bias, a normalisation's scale) are no part of the
hand-derived number; a tool that adds them is told apart from one that misses half.
"""
