package engines

import (
	selectloop "iolab/lessons/01-select"
	epolllt "iolab/lessons/02-epoll-lt"
	epollet "iolab/lessons/03-epoll-et"
	kqueueloop "iolab/lessons/04-kqueue"
	iocploop "iolab/lessons/05-iocp"
	uringloop "iolab/lessons/06-io_uring"
	selectsolution "iolab/solutions/01-select"
	epollltsolution "iolab/solutions/02-epoll-lt"
	epolletsolution "iolab/solutions/03-epoll-et"
	kqueuesolution "iolab/solutions/04-kqueue"
	iocpsolution "iolab/solutions/05-iocp"
	uringsolution "iolab/solutions/06-io_uring"
)

// Default is the engine to use where none is named.
const Default = "epoll-et"

var here = []pair{
	{Engine{"select", 1, "native", "1 µs", as(selectloop.New)}, as(selectsolution.New)},
	{Engine{"epoll-lt", 2, "native", "1 ms", as(epolllt.New)}, as(epollltsolution.New)},
	{Engine{"epoll-et", 3, "native", "1 ms", as(epollet.New)}, as(epolletsolution.New)},
	{Engine{"kqueue", 4, "emulated", "1 ns", as(kqueueloop.New)}, as(kqueuesolution.New)},
	{Engine{"iocp", 5, "emulated", "1 ms", as(iocploop.New)}, as(iocpsolution.New)},
	{Engine{"io_uring", 6, "native", "1 ns", as(uringloop.New)}, as(uringsolution.New)},
}
