"""Pairs of sentences that differ in one thing, to make a steering vector of, and prompts to try it on.

All are written by hand. The two of a pair share their subject and much of their form, so that their
difference is less about those; the prompts say nothing of the matter and share no sentence with the pairs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from llm_workings.core.errors import unknown


@dataclass(frozen=True)
class ContrastSet:
    """A thing that texts can have more or less of.

    Attributes:
        name: what it is called.
        sides: what the first and the second text of a pair are.
        pairs: the texts, (with it, with its opposite).
        prompts: beginnings that lean to neither side.
        next_words: words of the first and of the second side, each with its space, that may come next;
            one token each in the usual tokenizers of English.
        lexicon: words that count for the first and for the second side in a written text, lower case.
    """

    name: str
    sides: tuple[str, str]
    pairs: tuple[tuple[str, str], ...]
    prompts: tuple[str, ...]
    next_words: tuple[tuple[str, ...], tuple[str, ...]]
    lexicon: tuple[frozenset[str], frozenset[str]]

    @property
    def firsts(self) -> tuple[str, ...]:
        """The first text of each pair."""
        return tuple(first for first, _ in self.pairs)

    @property
    def seconds(self) -> tuple[str, ...]:
        """The second text of each pair."""
        return tuple(second for _, second in self.pairs)

    def tally(self, text: str) -> int:
        """How many words of the first side a text has, less how many of the second."""
        words = re.findall(r"[a-z]+", text.lower())
        return sum((word in self.lexicon[0]) - (word in self.lexicon[1]) for word in words)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SENTIMENT = ContrastSet(
    "sentiment",
    ("positive", "negative"),
    (
        ("The film was a delight from start to finish.", "The film was a bore from start to finish."),
        ("I loved every minute of the concert.", "I hated every minute of the concert."),
        ("The food was fresh and delicious.", "The food was stale and disgusting."),
        ("She gave a brilliant speech that moved us all.", "She gave a dreadful speech that bored us all."),
        ("Our stay at the hotel was wonderful.", "Our stay at the hotel was horrible."),
        ("The staff were friendly and helpful.", "The staff were rude and useless."),
        ("It is the best phone I have ever owned.", "It is the worst phone I have ever owned."),
        ("What a beautiful and charming little town.", "What an ugly and depressing little town."),
        ("He was proud and happy about the result.", "He was ashamed and sad about the result."),
        ("The weather was perfect for our trip.", "The weather was terrible for our trip."),
        ("This book is a joy to read.", "This book is a pain to read."),
        ("The team played superbly and deserved to win.", "The team played poorly and deserved to lose."),
        ("I am grateful for such an excellent teacher.", "I am angry about such an awful teacher."),
        ("The party was great fun for everyone.", "The party was no fun for anyone."),
        ("The new office is bright and comfortable.", "The new office is gloomy and cramped."),
        ("My visit to the dentist was quick and painless.", "My visit to the dentist was slow and painful."),
        ("The actors were superb and the story was moving.", "The actors were weak and the story was dull."),
        ("We had a lovely evening by the river.", "We had a miserable evening by the river."),
        ("The repair was cheap and it works perfectly.", "The repair was costly and it still fails."),
        ("Everyone praised the kind and generous host.", "Everyone disliked the mean and selfish host."),
        ("The garden smelled sweet and looked gorgeous.", "The garden smelled foul and looked neglected."),
        ("His jokes were clever and made us laugh.", "His jokes were cruel and made us cringe."),
        ("The service was fast and the price was fair.", "The service was slow and the price was a rip-off."),
        ("I feel hopeful and excited about the future.", "I feel hopeless and anxious about the future."),
    ),
    (
        "The movie we saw last night was",
        "My first day at the new school was",
        "When I think about my job, I feel",
        "The restaurant on the corner is",
        "After reading the letter, she felt",
        "The new album by the band is",
        "Our neighbours are",
        "The trip to the mountains was",
        "In my opinion, the new law is",
        "The soup that he cooked tasted",
        "When the children came home, they were",
        "The hotel room we booked was",
        "My experience with this company has been",
        "The teacher said that my essay was",
        "The play at the theatre was",
        "The customer said the product was",
        "Living in this city is",
        "The museum we visited was",
        "I tried the new coffee and it was",
        "The last season of the series was",
        "Looking back on the year, it was",
        "The photographs from the wedding are",
        "Working with him has been",
        "The car that I bought last year is",
    ),
    (
        (" good", " great", " wonderful", " beautiful", " amazing", " excellent", " happy", " perfect"),
        (" bad", " terrible", " horrible", " ugly", " awful", " poor", " sad", " disappointing"),
    ),
    (
        _words(
            "good great wonderful beautiful amazing excellent happy perfect lovely delightful delicious "
            "fun enjoyable love loved loving joy joyful fantastic awesome brilliant superb best better "
            "charming nice pleasant pleased proud excited exciting glad grateful thankful stunning "
            "gorgeous impressive incredible magnificent fabulous friendly helpful kind warm cozy "
            "comfortable fresh inspiring memorable rewarding satisfied success successful positive "
            "favorite fascinating breathtaking refreshing delighted enjoy enjoyed thrilled hopeful "
            "heartwarming vibrant"
        ),
        _words(
            "bad terrible horrible ugly awful poor sad disappointing disappointed boring bored dull "
            "dreadful hate hated worst worse disgusting nasty unpleasant miserable depressing depressed "
            "angry upset annoying annoyed frustrating frustrated frustration rude mean cruel cold dirty "
            "stale bitter sour pain painful hard difficult failure failed fail unhappy lonely scared "
            "afraid terrified horrified shocked disaster mess nightmare negative useless worthless "
            "broken wrong problem problems lost ashamed anxious worried uncomfortable hopeless tired "
            "exhausted overwhelmed stressful waste"
        ),
    ),
)
SEA = ContrastSet(
    "sea",
    ("about the sea", "about money"),
    (
        ("The waves rolled onto the beach.", "The coins rolled onto the counter."),
        ("A fisherman mended his nets in the harbour.", "A banker signed his papers in the office."),
        ("The sailors raised the anchor at dawn.", "The traders raised the price at dawn."),
        ("Seagulls circled above the ship.", "Customers queued in front of the bank."),
        ("The captain steered the boat through the rain.", "The manager steered the firm through the loss."),
        ("Salt water splashed over the deck.", "Interest was added to the loan."),
        ("The tide went out and left shells on the sand.", "The market fell and left debts on the books."),
        ("Dolphins leapt in front of the sailing boat.", "Prices leapt in front of the busy traders."),
        ("The lighthouse kept ships off the rocks.", "The adviser kept clients off the shares."),
        ("They dived down to the coral reef.", "They paid back the whole debt."),
        ("The island is a day's sail from the coast.", "The payment is a day late at the bank."),
        ("An old whale swam beneath the ship.", "An old account paid some interest."),
        ("The harbour was full of fishing boats.", "The wallet was full of large bills."),
        ("The current carried the raft out to the ocean.", "The company carried the loss over to next year."),
        ("Crabs hid under the seaweed on the shore.", "Fees hid under the small print of the contract."),
        ("The crew watched the horizon for land.", "The investors watched the index for gains."),
        ("The submarine sank to the bottom of the sea.", "The budget sank to the lowest of the decade."),
        ("She swam out past the surf.", "She saved up for a pension."),
        ("The ferry crossed the bay at noon.", "The cheque cleared the bank at noon."),
        ("Sharks live in the warm water near the reef.", "Taxes rise in the rich towns near the capital."),
    ),
    (
        "The old man sat down and began to talk about",
        "Yesterday I went to",
        "The story begins with",
        "She opened the door and saw",
        "My grandfather used to tell me about",
        "In the picture you can see",
        "The children wanted to draw",
        "Last summer we spent a week at",
        "The poem describes",
        "He dreamed of",
        "The first thing I noticed was",
        "On the wall there was a painting of",
        "They spent the whole morning looking for",
        "The letter was from",
        "Once upon a time there was",
        "The teacher asked us to write about",
        "At the end of the road we found",
        "The song is about",
        "In the distance we could hear",
        "The museum has a collection of",
    ),
    (
        (" sea", " ocean", " beach", " water", " ship", " boat", " fish", " waves"),
        (" money", " bank", " price", " tax", " loan", " market", " debt", " company"),
    ),
    (
        _words(
            "sea seas ocean oceans beach beaches water waters ship ships boat boats fish fishing "
            "fisherman wave waves sail sailing sailor sailors harbor harbour island islands coast shore "
            "sand reef coral tide whale whales dolphin dolphins shark sharks captain crew surf shell "
            "shells marine bay lighthouse"
        ),
        _words(
            "money bank banks banker price prices tax taxes loan loans market markets debt debts "
            "company firm business financial finance payment pay paid investment investors invest "
            "economy economic budget dollar dollars income cost costs credit account accounts wealth "
            "rich stock stocks sell buy"
        ),
    ),
)
CONTRASTS: Mapping[str, ContrastSet] = {chosen.name: chosen for chosen in (SENTIMENT, SEA)}


def contrast_set(name: str) -> ContrastSet:
    """A built-in set by its name; `UnknownName` suggests the nearest."""
    if name not in CONTRASTS:
        raise unknown("contrast set", name, CONTRASTS)
    return CONTRASTS[name]
