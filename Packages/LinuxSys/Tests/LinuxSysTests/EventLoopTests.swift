import LinuxSys
import Testing

@Suite struct EventLoopTests {
    @Test func postedWork_runsInOrderBeforeStop() throws {
        let loop = try EventLoop()
        let seen = WaitWord()
        loop.post { #expect(seen.exchange(0, for: 1)) }
        loop.post { #expect(seen.exchange(1, for: 2)) }
        loop.post { loop.stop() }
        loop.run()
        #expect(seen.value == 2)
    }
}
