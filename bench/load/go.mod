module weir/bench/load

go 1.19
