"""In which blocks a meter is read, and what it has taught us about them."""

from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache

from edge.profiles.modbus.decode import Decoder
from edge.profiles.modbus.plan import Block
from edge.profiles.modbus.schema import ModbusProfile

# How often in a row a register must be refused, while the meter answers for others, before it is set aside.
_REFUSALS = 3
# How often in a row a block must stay without an answer, while the meter answers others, to count as refused: one
# request may be lost, or be one too many for a meter that is busy.
_SILENCES = 3


class Layout:
    """The blocks of a profile: whole at first, halved where the meter refuses one, without what was set aside.

    `blocks` is what to read next, `decode` what makes values of the replies to it. `order` is in which order to ask,
    as places in `blocks`: what the meter was silent on comes last, so that waiting for it costs no other block.
    """

    blocks: tuple[Block, ...]
    order: tuple[int, ...]
    decode: Decoder
    _halved: tuple[Block, ...] | None

    def __init__(self, *, profile: ModbusProfile, aside: Collection[str] = ()) -> None:
        self.profile = profile
        self._keys = _keys(profile)
        # By register: how often it was waited for since it last answered, and how often of these others did answer.
        self._silences: Counter[str] = Counter()
        self._silences_alone: Counter[str] = Counter()
        known = frozenset(aside) & self._keys
        # With nothing left to ask for, nothing would ever be found to be there again.
        self._plan(known if known < self._keys else frozenset())

    @property
    def aside(self) -> frozenset[str]:
        """Keys of the registers that the meter refuses: neither asked for nor read along."""
        return self._aside

    @property
    def probes(self) -> tuple[Block, ...]:
        """What to ask once in a while: one block for each register that was set aside."""
        return tuple(block for key in sorted(self._aside) for block in self.profile.blocks(self._keys - {key}))

    @property
    def settled(self) -> bool:
        """Whether the blocks are as few as the profile allows, were not refused, and all answered."""
        return self.blocks is self._whole and self._halved is None and not self._silences

    def learn(self, answered: Sequence[Block], refused: Sequence[Block]) -> bool:
        """Take in how one reading of `blocks` went; whether other registers than before are set aside now."""
        if self._doubts:
            for block in answered:
                for key in block.keys:
                    self._doubts.pop(key, None)
        if self._silences:
            for block in answered:
                for key in block.keys:
                    self._silences.pop(key, None)
                    self._silences_alone.pop(key, None)
            self._arrange()
        if not refused:
            if len(answered) == len(self.blocks):
                self._try_whole()
            return False
        if self._halved is not None and self.blocks is self._whole:
            # It refuses the whole though not its parts: a gap between them, or its length, is what it cannot bear.
            self._use(self._halved)
            self._halved, self._whole_refused = None, True
            return False
        return self._halve(answered, refused)

    def waited_for(self, block: Block, *, others_answer: bool) -> bool:
        """Note that the meter was silent on `block`; whether that is to be learned from as a refusal.

        A meter may say nothing about a register that it lacks, or about a request that is too long for it.
        """
        self._silences.update(block.keys)
        self._arrange()
        if not others_answer:
            return False
        self._silences_alone.update(block.keys)
        # Where its parts have just answered, the whole need not be tried often.
        tried = self._halved is not None and self.blocks is self._whole
        return tried or all(self._silences_alone[key] >= _SILENCES for key in block.keys)

    def answered_again(self, keys: Collection[str]) -> None:
        """The registers of `keys`, set aside before, are there after all."""
        self._plan(self._aside - frozenset(keys))

    def doubt_the_split(self) -> None:
        """Let whole blocks be tried once more: the meter may have been repaired since it refused them."""
        self._whole_refused = False

    def _plan(self, aside: frozenset[str]) -> None:
        self._aside = aside
        for key in aside:
            self._silences.pop(key, None)
            self._silences_alone.pop(key, None)
        self._whole = _blocks(self.profile, aside)
        self._halved = None
        self._whole_refused = False
        self._doubts: Counter[str] = Counter()
        self._use(self._whole)

    def _use(self, blocks: tuple[Block, ...]) -> None:
        self.blocks, self.decode = blocks, _decoder(self.profile, blocks)
        self._arrange()

    def _arrange(self) -> None:
        places = range(len(self.blocks))
        silences = self._silences
        if silences:
            self.order = tuple(sorted(places, key=lambda n: max(silences[key] for key in self.blocks[n].keys)))
        else:
            self.order = tuple(places)

    def _try_whole(self) -> None:
        if self.blocks is self._whole:
            self._halved = None
        elif not self._whole_refused:
            self._halved = self.blocks
            self._use(self._whole)

    def _halve(self, answered: Sequence[Block], refused: Sequence[Block]) -> bool:
        blocks: list[Block] = []
        gone: set[str] = set()
        for block in self.blocks:
            parts = block.halves() if block in refused else (block,)
            if len(parts) == 1 and block in refused and answered:
                self._doubts.update(block.keys)
                gone.update(key for key in block.keys if self._doubts[key] >= _REFUSALS)
            blocks += parts
        if gone:
            self._plan(self._aside | gone)
        elif not answered and blocks == list(self.blocks):
            # It refuses each single register, so it refuses to answer at all: no reason to ask in small pieces.
            self._use(self._whole)
        else:
            self._use(tuple(blocks))
        return bool(gone)


# Meters of a model share what was worked out for one of them: by the hundred, it is a large part of the memory.
@lru_cache(maxsize=64)
def _keys(profile: ModbusProfile) -> frozenset[str]:
    return frozenset(key for block in profile.blocks() for key in block.keys)


@lru_cache(maxsize=64)
def _blocks(profile: ModbusProfile, without: frozenset[str]) -> tuple[Block, ...]:
    return profile.blocks(without)


@lru_cache(maxsize=64)
def _decoder(profile: ModbusProfile, blocks: tuple[Block, ...]) -> Decoder:
    return profile.decoder(blocks)
